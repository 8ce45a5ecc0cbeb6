-- Hold a claim for another lease.
--
-- KEYS[1]  the name of the key
-- ARGV     token, lease in milliseconds
-- Returns  1, or 0 if it is not held any more

local record = redis.call('HMGET', KEYS[1], 'token', 'answer')
if record[1] ~= ARGV[1] or record[2] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
