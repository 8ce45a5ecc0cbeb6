-- An account: what one key has used of one quota, and what is set aside of it, as
-- `machines.Account`. It is a hash, of which most accounts have the first field alone:
--
--   level       what has been charged
--   held        {units set aside, the earliest expiry, when the last is forgotten}
--   hold:NAME   {units, when they expire, 1 if they count as used then}
--
-- It is read once and written once, however many decisions are about it, and always has
-- a time to live.

local account = {}

function account.now(told)
  if told ~= '' then
    return tonumber(told)
  end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function read(packed)
  local is_ours, value = pcall(cmsgpack.unpack, packed)
  return is_ours and value or nil
end

function account.open(key, limit, window)
  local found = redis.pcall('HMGET', key, 'level', 'held')
  if found.err then -- something else has our name
    redis.call('DEL', key)
    found = {}
  end
  local it = {key = key, limit = limit, window = window, held = 0, exists = found[1]}
  local is_ours, read_level = pcall(level.read, found[1], limit, window)
  it.level = is_ours and read_level or level.read(nil, limit, window)
  it.had_holds = found[2]
  local held = found[2] and read(found[2])
  if held then
    it.held, it.first, it.last = unpack(held)
    it.has_holds = true
  end
  return it
end

-- Holds, the first to expire first.
local function holds(it)
  local found, fields = {}, redis.call('HGETALL', it.key)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 5) == 'hold:' then
      local units, expires, is_used = unpack(cmsgpack.unpack(fields[i + 1]))
      found[#found + 1] =
        {field = fields[i], units = units, expires = expires, is_used = is_used == 1}
    end
  end
  table.sort(found, function(a, b)
    if a.expires ~= b.expires then
      return a.expires < b.expires
    end
    return a.field < b.field
  end)
  return found
end

local function forgotten(it, hold)
  return hold.expires + (hold.is_used and it.window or 0)
end

local function expire(it, now)
  it.held, it.first, it.last, it.has_holds = 0, nil, nil, false
  for _, hold in ipairs(holds(it)) do
    if hold.expires <= now then
      redis.call('HDEL', it.key, hold.field)
      if hold.is_used then
        level.charge(it.level, hold.units, hold.expires)
      end
    else
      it.has_holds = true
      it.held = it.held + hold.units
      it.first = it.first or hold.expires
      it.last = math.max(it.last or 0, forgotten(it, hold))
    end
  end
  it.is_dirty = true
end

function account.used(it, now)
  if it.has_holds and it.first <= now then
    expire(it, now)
  end
  return level.taken(it.level, now) + it.held
end

function account.wait(it, cost, now)
  local room = it.limit - cost
  if cost == 0 or account.used(it, now) <= room then
    return 0
  end
  if not it.has_holds then
    return level.wait(it.level, room, now)
  end
  local ahead, held, at = level.copy(it.level), it.held, now
  for _, hold in ipairs(holds(it)) do
    if held <= room then
      local when = at + level.wait(ahead, room - held, at)
      if when <= hold.expires then
        return when - now
      end
    end
    held, at = held - hold.units, hold.expires
    if hold.is_used then
      level.charge(ahead, hold.units, at)
    end
  end
  return at + level.wait(ahead, room, at) - now
end

function account.reset(it, now)
  if account.used(it, now) == 0 then
    return 0
  end
  local latest = level.wait(it.level, 0, now)
  return it.has_holds and math.max(latest, it.last - now) or latest
end

function account.charge(it, cost, now)
  if cost > 0 then
    level.charge(it.level, cost, now)
    it.is_dirty = true
  end
end

function account.refund(it, cost, now)
  account.used(it, now)
  level.give_back(it.level, cost, now)
  it.is_dirty = true
end

function account.hold(it, name, units, expires, is_used)
  if units == 0 then
    return
  end
  local hold = {expires = expires, is_used = is_used}
  redis.call(
    'HSET', it.key, 'hold:' .. name, cmsgpack.pack({units, expires, is_used and 1 or 0}))
  it.held = it.held + units
  it.first = math.min(it.first or expires, expires)
  it.last = math.max(it.last or 0, forgotten(it, hold))
  it.has_holds, it.is_dirty = true, true
end

function account.settle(it, name, cost, now, is_used)
  account.used(it, now)
  local packed = redis.call('HGET', it.key, 'hold:' .. name)
  if packed then
    redis.call('HDEL', it.key, 'hold:' .. name)
    it.held = it.held - cmsgpack.unpack(packed)[1]
    it.is_dirty = true
    if it.held == 0 then
      it.first, it.last, it.has_holds = nil, nil, false
    end
  end
  if packed or not is_used then
    account.charge(it, cost, now)
  end
end

function account.close(it, now)
  local reset = account.reset(it, now)
  if it.is_dirty and reset == 0 then
    redis.call('DEL', it.key)
  elseif it.is_dirty then
    if it.has_holds then
      local held = cmsgpack.pack({it.held, it.first, it.last})
      redis.call('HSET', it.key, 'level', level.write(it.level), 'held', held)
    else
      redis.call('HSET', it.key, 'level', level.write(it.level))
      if it.had_holds then
        redis.call('HDEL', it.key, 'held')
      end
    end
    redis.call('PEXPIRE', it.key, math.ceil(reset / 1000))
  elseif it.exists and redis.call('PTTL', it.key) == -1 then
    redis.call('PEXPIRE', it.key, math.max(1, math.ceil(reset / 1000)))
  end
end

