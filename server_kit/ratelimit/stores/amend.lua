-- Settle what was set aside, or take back what was charged.
--
-- KEYS     the accounts
-- ARGV     the time to go by in microseconds, '' for the server's own
--          the name of the hold, '' for a refund; 1 if it counts as used when it expires
--          for each account: limit, window in microseconds, cost
-- Returns  for each account: units used

local now = account.now(ARGV[1])
local reply = {}
for i, key in ipairs(KEYS) do
  local limit, window, cost = unpack(ARGV, 3 * i + 1, 3 * i + 3)
  local it = account.open(key, tonumber(limit), tonumber(window))
  if ARGV[2] == '' then
    account.refund(it, tonumber(cost), now)
  else
    account.settle(it, ARGV[2], tonumber(cost), now, ARGV[3] == '1')
  end
  reply[i] = account.used(it, now)
  account.close(it, now)
end
return reply
