-- A level: what has been charged to a quota. Here as a bucket, as `machines.TokenBucket`.
--
-- A level is {limit, window, since, units}: the units taken since it was last full.
-- Times are microseconds.

local level = {}

function level.read(packed, limit, window)
  local since, units = 0, 0
  if packed then
    since, units = unpack(cmsgpack.unpack(packed))
  end
  return {limit = limit, window = window, since = since, units = units}
end

function level.write(it)
  return cmsgpack.pack({it.since, it.units})
end

function level.copy(it)
  return level.read(level.write(it), it.limit, it.window)
end

function level.taken(it, now)
  if it.units == 0 then
    return 0
  end
  local passed = now - it.since
  if passed < 0 then -- the clock was set back
    it.since, passed = now, 0
    it.units = math.min(it.units, it.limit)
  elseif passed >= it.window then
    local windows = math.floor(passed / it.window)
    it.since = it.since + windows * it.window
    it.units = math.max(0, it.units - windows * it.limit)
    passed = passed - windows * it.window
  end
  local left = it.units - math.floor(passed * it.limit / it.window)
  if left <= 0 then
    it.units = 0
    return 0
  end
  return left
end

function level.wait(it, most, now)
  if level.taken(it, now) <= most then
    return 0
  end
  local missing = it.units - most
  local passed = math.ceil(missing * it.window / it.limit)
  -- Of large numbers the quotient is rounded, and could be a little too early.
  while math.floor(passed * it.limit / it.window) < missing do
    passed = passed + 1
  end
  return it.since + passed - now
end

function level.charge(it, cost, now)
  local taken = level.taken(it, now)
  if taken == 0 then
    it.since = now
  end
  it.units = it.units + math.min(cost, it.limit - taken)
end

function level.give_back(it, cost, now)
  it.units = it.units - math.min(cost, level.taken(it, now))
end

