-- A level: what has been charged to a quota. Here as a bucket, as `machines.TokenBucket`.
--
-- A level is {limit, window, since, units, taken}: the units taken since it was last
-- full, and those of them that are not back. Times are microseconds. Who asks about a
-- time calls `forward` to it before.

local function level_read(found, limit, window)
  return {
    limit = limit, window = window, since = found[1] or 0, units = found[2] or 0,
    taken = 0}
end

local function level_forward(it, now)
  if it.units == 0 then
    return
  end
  local passed = now - it.since
  if passed < 0 then -- the clock was set back
    it.was_set_back = true
    it.since, passed = now, 0
    it.units = math.min(it.units, it.limit)
  elseif passed >= it.window then
    local windows = math.floor(passed / it.window)
    it.since = it.since + windows * it.window
    it.units = math.max(0, it.units - windows * it.limit)
    passed = passed - windows * it.window
  end
  it.taken = math.max(0, it.units - math.floor(passed * it.limit / it.window))
  if it.taken > it.limit then -- the clock shows again what it has shown before
    it.was_set_back = true
    it.units, it.taken = it.units - (it.taken - it.limit), it.limit
  elseif it.taken == 0 then
    it.units = 0
  end
end

local function level_wait(it, most, now)
  if it.taken <= most then
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

local function level_reset(it, now)
  return level_wait(it, 0, now)
end

local function level_charge(it, cost, now)
  if it.taken == 0 then
    it.since, it.units = now, 0
  end
  cost = math.min(cost, it.limit - it.taken)
  it.units, it.taken = it.units + cost, it.taken + cost
end

local function level_give_back(it, cost)
  cost = math.min(cost, it.taken)
  it.units, it.taken = it.units - cost, it.taken - cost
end

-- What `read` reads.
local function level_plain(it)
  return {it.since, it.units}
end

