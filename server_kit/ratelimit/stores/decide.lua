-- Decide on any number of requests, each about one or several quotas: all or nothing.
--
-- KEYS     the accounts; and last the living replicas, if there is a beat
-- ARGV     the time to go by in microseconds, '' for the server's own
--          the name of the process that is alive, '' for no beat
--          numbers, as doubles in one string:
--            of each account, limit and window in microseconds
--            then of each request
--              its kind: 0 charges, 1 sets aside, 2 sets aside more than it charges
--              the number of its quotas
--              only for 1 and 2: microseconds until what it sets aside expires
--              of each quota, number of its account and cost
--                only for 2: units to set aside beside the cost, at most;
--                            what the last such hold came to
--          then for each request that sets aside, the name of the hold; for 2, of each
--          quota also that of the last such hold, or ''
-- Returns  the number of living replicas, 0 without a beat; then for each quota of each
--          request: wait, units used, reset, units set aside, units held by anyone

local ALIVE = 10000000 -- microseconds after its last beat
local CHARGES, AHEAD = 0, 2
local TOLD = 5

local now = account.now(ARGV[1])
local reply = {0}
local last = #KEYS
if ARGV[2] ~= '' then
  local replicas = KEYS[last]
  last = last - 1
  redis.call('ZADD', replicas, now, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', replicas, '-inf', now - ALIVE)
  redis.call('PEXPIRE', replicas, ALIVE / 1000)
  reply[1] = redis.call('ZCARD', replicas)
end

local count = #ARGV[3] / 8
local numbers = {struct.unpack('<' .. string.rep('d', count), ARGV[3])}
local name_at = 4
local function next_name()
  name_at = name_at + 1
  return ARGV[name_at - 1]
end

local accounts = {}
for i = 1, last do
  accounts[i] = account.open(KEYS[i], numbers[2 * i - 1], numbers[2 * i], now)
end

local function set_aside(kind, it, cost, name, expires, most)
  if kind ~= AHEAD then
    account.hold(it, name, cost, expires, false)
    return cost
  end
  account.charge(it, cost, now)
  -- The last units are not for one process alone.
  local ahead = math.min(most, math.floor((it.limit - account.used(it)) / 2))
  ahead = math.max(0, ahead)
  account.hold(it, name, ahead, expires, true)
  return ahead
end

local at = 2 * last + 1
while at < count do
  local kind, quotas = numbers[at], numbers[at + 1]
  at = at + 2
  local name, expires
  local each = 2
  if kind ~= CHARGES then
    name, expires = next_name(), now + numbers[at]
    at = at + 1
    each = kind == AHEAD and 4 or 2
  end
  local is_allowed, told = true, #reply
  for i = 0, quotas - 1 do
    local it = accounts[numbers[at + i * each]]
    if kind == AHEAD then
      local before = next_name()
      if before ~= '' then
        account.settle(it, before, numbers[at + i * each + 3], now, true)
      end
    end
    local wait = account.wait(it, numbers[at + i * each + 1], now)
    reply[told + i * TOLD + 1] = wait
    is_allowed = is_allowed and wait == 0
  end
  for _ = 1, quotas do
    local it, cost, most = accounts[numbers[at]], numbers[at + 1], numbers[at + 2]
    local aside = 0
    if is_allowed and kind == CHARGES then
      account.charge(it, cost, now)
    elseif is_allowed then
      aside = set_aside(kind, it, cost, name, expires, most)
    end
    reply[told + 2], reply[told + 3] = account.used(it), account.reset(it, now)
    reply[told + 4], reply[told + 5] = aside, it.held
    at, told = at + each, told + TOLD
  end
end

for i = 1, last do
  account.close(accounts[i], now)
end
return reply
