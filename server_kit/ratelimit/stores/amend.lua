-- Settle what was set aside, or take back what was charged.
--
-- KEYS     the accounts
-- ARGV     the time to go by in microseconds, '' for the server's own
--          the name of the hold, '' for a refund; 1 if it counts as used when it expires
--          for each account: limit, window in microseconds, cost

local now = account_now(ARGV[1])
for i, key in ipairs(KEYS) do
  local limit, window, cost = unpack(ARGV, 3 * i + 1, 3 * i + 3)
  local it = account_open(key, tonumber(limit), tonumber(window), now)
  if ARGV[2] == '' then
    level_give_back(it.level, tonumber(cost))
    it.is_dirty = true
  else
    holds().settle(it, ARGV[2], tonumber(cost), now, ARGV[3] == '1')
  end
  account_close(it, now)
end
