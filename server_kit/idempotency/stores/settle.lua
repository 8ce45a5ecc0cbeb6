-- Keep the answer to what was claimed, or the fact that there was one.
--
-- KEYS[1]  the name of the key
-- ARGV     token, fingerprint, answer or '', milliseconds to keep it
-- Returns  1, or 0 if another holds the key or was served, or
--          2 if there is no memory for the answer, and the fact alone was kept

local record = redis.call('HMGET', KEYS[1], 'token', 'fingerprint', 'answer')
local token, fingerprint, answer = record[1], record[2], record[3]

-- A claim that ran out, and that nobody has made since, is settled as well.
if fingerprint and token ~= ARGV[1] then
  return 0
end
if answer then
  return 1
end
local kept = redis.pcall(
  'HSET', KEYS[1], 'token', ARGV[1], 'fingerprint', ARGV[2], 'answer', ARGV[3])
if type(kept) == 'table' and kept.err then
  -- Without memory Redis still deletes. A record without a token is spent.
  if not string.find(kept.err, 'OOM') or redis.call('HDEL', KEYS[1], 'token') == 0 then
    return redis.error_reply(kept.err)
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return 2
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
