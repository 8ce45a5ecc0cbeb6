-- Decide on any number of requests, each about one or several quotas: all or nothing.
--
-- KEYS     the accounts; and last the living replicas, if there is a beat
-- ARGV     the time to go by in microseconds, '' for the server's own
--          the name of the process that is alive, '' for no beat
--          for each account: limit, window in microseconds
--          then for each request
--            the number of its quotas; 'r' or 'l' before it for one that sets aside
--            only if so: name of the hold, microseconds until it expires
--            for each quota: number of its account, cost;
--              only for 'l': units to set aside beside the cost, at most;
--                            name of the last such hold, or ''; units it came to
-- Returns  the number of living replicas, 0 without a beat; then for each quota of each
--          request: wait, units used, reset, units set aside, units held by anyone

local ALIVE = 10000000 -- microseconds after its last beat

local now = account.now(ARGV[1])
local alive = 0
local last = #KEYS
if ARGV[2] ~= '' then
  local replicas = KEYS[last]
  last = last - 1
  redis.call('ZADD', replicas, now, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', replicas, '-inf', now - ALIVE)
  redis.call('PEXPIRE', replicas, ALIVE / 1000)
  alive = redis.call('ZCARD', replicas)
end

local accounts, at = {}, 3
for i = 1, last do
  accounts[i] = account.open(KEYS[i], tonumber(ARGV[at]), tonumber(ARGV[at + 1]))
  at = at + 2
end

local function charge(kind, it, cost, name, expires, most)
  if kind == '' then
    account.charge(it, cost, now)
    return 0
  end
  if kind == 'r' then
    account.hold(it, name, cost, expires, false)
    return cost
  end
  account.charge(it, cost, now)
  -- The last units are not for one process alone.
  local ahead = math.min(most, math.floor((it.limit - account.used(it, now)) / 2))
  ahead = math.max(0, ahead)
  account.hold(it, name, ahead, expires, true)
  return ahead
end

local reply = {alive}
while at <= #ARGV do
  local kind, count = string.match(ARGV[at], '^(%a?)(%d+)$')
  local name, expires
  at = at + 1
  if kind ~= '' then
    name, expires = ARGV[at], now + tonumber(ARGV[at + 1])
    at = at + 2
  end
  local asked, waits, is_allowed = {}, {}, true
  for i = 1, tonumber(count) do
    local it, cost = accounts[tonumber(ARGV[at])], tonumber(ARGV[at + 1])
    local most = 0
    at = at + 2
    if kind == 'l' then
      most = tonumber(ARGV[at])
      if ARGV[at + 1] ~= '' then
        account.settle(it, ARGV[at + 1], tonumber(ARGV[at + 2]), now, true)
      end
      at = at + 3
    end
    asked[i] = {it, cost, most}
    waits[i] = account.wait(it, cost, now)
    is_allowed = is_allowed and waits[i] == 0
  end
  for i, quota in ipairs(asked) do
    local it, cost, most = unpack(quota)
    local aside = is_allowed and charge(kind, it, cost, name, expires, most) or 0
    local n = #reply
    reply[n + 1], reply[n + 2] = waits[i], account.used(it, now)
    reply[n + 3], reply[n + 4], reply[n + 5] = account.reset(it, now), aside, it.held
  end
end

for _, it in ipairs(accounts) do
  account.close(it, now)
end
return reply
