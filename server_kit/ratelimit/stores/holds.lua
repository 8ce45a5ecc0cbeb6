-- What is set aside of an account: a field of it for each, by name,
--
--   hold:NAME   {units, when they expire, 1 if they count as used then}
--
-- and in the account how many units that is (`held`), the earliest expiry (`first`) and
-- when the last will be forgotten (`last`). Functions are made when first needed: most
-- scripts have to do with no hold.

local function make_holds()
  local holds = {}

  -- All of them, the first to expire first.
  local function listed(it)
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

  local function forgotten(it, expires, is_used)
    return expires + (is_used and it.window or 0)
  end

  function holds.expire(it, now)
    it.held, it.first, it.last = 0, nil, nil
    for _, hold in ipairs(listed(it)) do
      if hold.expires <= now then
        redis.call('HDEL', it.key, hold.field)
        if hold.is_used then
          level_forward(it.level, hold.expires)
          level_charge(it.level, hold.units, hold.expires)
        end
      else
        it.held = it.held + hold.units
        it.first = it.first or hold.expires
        it.last = math.max(it.last or 0, forgotten(it, hold.expires, hold.is_used))
      end
    end
    it.is_dirty = true
  end

  -- In how many microseconds there is room, with what expires until then.
  function holds.wait(it, room, now)
    local slices_or_so = cmsgpack.unpack(cmsgpack.pack(level_plain(it.level)))
    local ahead = level_read(slices_or_so, it.limit, it.window)
    local held, at = it.held, now
    level_forward(ahead, at)
    for _, hold in ipairs(listed(it)) do
      if held <= room then
        local when = at + level_wait(ahead, room - held, at)
        if when <= hold.expires then
          return when - now
        end
      end
      held, at = held - hold.units, hold.expires
      level_forward(ahead, at)
      if hold.is_used then
        level_charge(ahead, hold.units, at)
      end
    end
    return at + level_wait(ahead, room, at) - now
  end

  function holds.add(it, name, units, expires, is_used)
    if units == 0 then
      return
    end
    local packed = cmsgpack.pack({units, expires, is_used and 1 or 0})
    redis.call('HSET', it.key, 'hold:' .. name, packed)
    it.held = it.held + units
    it.first = math.min(it.first or expires, expires)
    it.last = math.max(it.last or 0, forgotten(it, expires, is_used))
    it.is_dirty = true
  end

  -- Return whether there was such a hold.
  function holds.remove(it, name)
    local packed = redis.call('HGET', it.key, 'hold:' .. name)
    if not packed then
      return false
    end
    redis.call('HDEL', it.key, 'hold:' .. name)
    it.held = it.held - cmsgpack.unpack(packed)[1]
    if it.held == 0 then
      it.first, it.last = nil, nil
    end
    it.is_dirty = true
    return true
  end

  -- Charge what became of a hold; of one that counted as used when it expired, nothing.
  function holds.settle(it, name, cost, now, is_used)
    if (holds.remove(it, name) or not is_used) and cost > 0 then
      level_charge(it.level, cost, now)
      it.is_dirty = true
    end
  end

  -- Set aside up to `most` units, and return how many.
  function holds.take_ahead(it, name, most, expires)
    -- The last units are not for one process alone.
    local left = it.limit - it.level.taken - it.held
    local units = math.max(0, math.min(most, math.floor(left / 2)))
    holds.add(it, name, units, expires, true)
    return units
  end

  return holds
end

local made
local function holds()
  made = made or make_holds()
  return made
end

