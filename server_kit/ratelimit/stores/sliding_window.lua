-- A level: what has been charged to a quota. Here in slices, as `machines.SlidingWindow`.
--
-- A level is {limit, window, slices, taken}; slices alternate when one began and what it
-- holds, the oldest first. Times are microseconds. Who asks about a time calls `forward`
-- to it before.
--
-- Every run makes all functions anew: as locals they cost half of what they would as
-- members of a table.

local SLICES = 10
local function level_read(slices, limit, window)
  local taken = 0
  for i = 2, #slices, 2 do
    taken = taken + slices[i]
  end
  return {limit = limit, window = window, slices = slices, taken = taken}
end

local function level_forward(it, now)
  local slices = it.slices
  local n = #slices
  if n == 0 then
    return
  end
  if slices[n - 1] > now then -- the clock was set back
    it.was_set_back = true
    for i = 1, n, 2 do
      slices[i] = math.min(slices[i], now)
    end
  end
  local forgotten, first = now - it.window, 1
  while first < n and slices[first] <= forgotten do
    it.taken = it.taken - slices[first + 1]
    first = first + 2
  end
  if first > 1 then
    it.slices = {unpack(slices, first)}
  end
end

local function level_wait(it, most, now)
  local too_many, left = it.taken - most, 0
  for i = 1, #it.slices, 2 do
    if too_many <= 0 then
      break
    end
    too_many = too_many - it.slices[i + 1]
    left = it.slices[i] + it.window - now
  end
  return left
end

local function level_reset(it, now)
  local newest = it.slices[#it.slices - 1]
  return newest and newest + it.window - now or 0
end

local function level_charge(it, cost, now)
  if cost == 0 then
    return
  end
  local slices = it.slices
  local n = #slices
  if n > 0 and (now - slices[n - 1]) * SLICES < it.window
      and slices[n] + cost <= math.floor(it.limit / SLICES) then
    slices[n] = slices[n] + cost
  elseif it.taken > it.limit then
    slices[n - 1], slices[n] = now, slices[n] + cost
  else
    slices[n + 1], slices[n + 2] = now, cost
  end
  it.taken = it.taken + cost
end

local function level_give_back(it, cost)
  local left = math.min(cost, it.taken)
  local slices = it.slices
  it.taken = it.taken - left
  while left > 0 do
    local n = #slices
    local undone = math.min(left, slices[n])
    slices[n] = slices[n] - undone
    left = left - undone
    if slices[n] == 0 then
      slices[n], slices[n - 1] = nil, nil
    end
  end
end

-- What `read` reads.
local function level_plain(it)
  return it.slices
end

