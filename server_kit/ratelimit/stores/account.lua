-- An account: what one key has used of one quota, and what is set aside of it, as
-- `machines.Account`. It is a hash, of which most accounts have the first field alone:
--
--   level       what has been charged; and `held`, `first`, `last` if there are holds
--   hold:NAME   see holds.lua
--
-- It is read once and written once, however many decisions are about it, and always has
-- a time to live. Within a script it is always the same time.

local function account_now(told)
  if told and told ~= '' then
    return tonumber(told)
  end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function account_open(key, limit, window, now)
  local packed = redis.pcall('HGET', key, 'level')
  local is_ours, found, held, first, last
  if type(packed) == 'string' then
    is_ours, found, held, first, last = pcall(cmsgpack.unpack, packed)
  elseif packed then -- something else has our name
    redis.call('DEL', key)
  end
  if not is_ours or type(found) ~= 'table' then
    found, held, first, last = {}, nil, nil, nil
  end
  local it = {
    key = key, limit = limit, window = window,
    level = level_read(found, limit, window), exists = is_ours,
    held = held or 0, first = first, last = last, is_dirty = false}
  if first and first <= now then
    holds().expire(it, now)
  end
  level_forward(it.level, now)
  if it.level.was_set_back then -- or it would be found so again and again
    it.is_dirty = true
  end
  return it
end

local function account_used(it)
  return it.level.taken + it.held
end

local function account_wait(it, cost, now)
  local room = it.limit - cost
  if cost == 0 or it.level.taken + it.held <= room then
    return 0
  end
  if it.first then
    return holds().wait(it, room, now)
  end
  return level_wait(it.level, room, now)
end

local function account_reset(it, now)
  local latest = level_reset(it.level, now)
  return it.last and math.max(latest, it.last - now) or latest
end

local function account_charge(it, cost, now)
  if cost > 0 then
    level_charge(it.level, cost, now)
    it.is_dirty = true
  end
end

local function account_close(it, now)
  if not it.is_dirty then
    if it.exists and redis.call('PTTL', it.key) == -1 then
      redis.call('PEXPIRE', it.key, math.max(1, math.ceil(account_reset(it, now) / 1000)))
    end
    return
  end
  local reset = account_reset(it, now)
  if reset == 0 then
    redis.call('DEL', it.key)
    return
  end
  local plain = level_plain(it.level)
  local packed = it.first and cmsgpack.pack(plain, it.held, it.first, it.last)
    or cmsgpack.pack(plain)
  redis.call('HSET', it.key, 'level', packed)
  redis.call('PEXPIRE', it.key, math.ceil(reset / 1000))
end

