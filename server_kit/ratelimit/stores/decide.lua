-- Decide on any number of requests, each about one or several quotas: all or nothing.
--
-- KEYS     the accounts; and last the living replicas, if there is a beat
-- ARGV     numbers, as doubles in one string:
--            of each account, limit and window in microseconds
--            then of each request
--              its kind: 0 charges, 1 sets aside, 2 sets aside more than it charges
--              the number of its quotas
--              microseconds until what it sets aside expires
--              of each quota, number of its account and cost; only of use for 2: units
--              to set aside beside the cost, at most, and what the last such hold came to
--          the time to go by in microseconds, '' for the server's own
--          the name of the process that is alive, '' for no beat
--          then for each request that sets aside, the name of the hold; for 2, of each
--          quota also that of the last such hold, or ''
--          (without any of the last three there are only the numbers)
-- Returns  integers of 64 bits in one string: the number of living replicas, 0 without a
--          beat; then for each quota of each request: wait, units used, reset, units set
--          aside, units held by anyone

local ALIVE = 10000000 -- microseconds after its last beat
local CHARGES, AHEAD = 0, 2
local TOLD = '<i8i8i8i8i8'

local now = account_now(ARGV[2])
local last, alive = #KEYS, 0
if ARGV[3] and ARGV[3] ~= '' then
  local replicas = KEYS[last]
  last = last - 1
  redis.call('ZADD', replicas, now, ARGV[3])
  redis.call('ZREMRANGEBYSCORE', replicas, '-inf', now - ALIVE)
  redis.call('PEXPIRE', replicas, ALIVE / 1000)
  alive = redis.call('ZCARD', replicas)
end

local numbers, at = ARGV[1], 1
local accounts = {}
for i = 1, last do
  local limit, window
  limit, window, at = struct.unpack('<dd', numbers, at)
  accounts[i] = account_open(KEYS[i], limit, window, now)
end

local reply = {struct.pack('<i8', alive)}
local name_at, waits = 3, {}
while at < #numbers do
  local kind, quotas, expires, name
  kind, quotas, expires, at = struct.unpack('<ddd', numbers, at)
  if kind ~= CHARGES then
    name_at = name_at + 1
    name = ARGV[name_at]
  end

  local is_allowed, first = true, at
  for i = 1, quotas do
    local place, cost, used, _
    place, cost, _, used, at = struct.unpack('<dddd', numbers, at)
    local it = accounts[place]
    if kind == AHEAD then
      name_at = name_at + 1
      if ARGV[name_at] ~= '' then
        holds().settle(it, ARGV[name_at], used, now, true)
      end
    end
    waits[i] = account_wait(it, cost, now)
    is_allowed = is_allowed and waits[i] == 0
  end

  at = first
  for i = 1, quotas do
    local place, cost, most, _
    place, cost, most, _, at = struct.unpack('<dddd', numbers, at)
    local it, aside = accounts[place], 0
    if is_allowed and kind == AHEAD then
      account_charge(it, cost, now)
      aside = holds().take_ahead(it, name, most, now + expires)
    elseif is_allowed and kind == CHARGES then
      account_charge(it, cost, now)
    elseif is_allowed then
      aside = cost
      holds().add(it, name, cost, now + expires, false)
    end
    reply[#reply + 1] = struct.pack(
      TOLD, waits[i], account_used(it), account_reset(it, now), aside, it.held)
  end
end

for i = 1, last do
  account_close(accounts[i], now)
end
return table.concat(reply)
