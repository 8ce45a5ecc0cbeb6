-- Let go of a claim, as if it had not been made.
--
-- KEYS[1]  the name of the key
-- ARGV     token
-- Returns  1, or 0 if it is not held

local record = redis.call('HMGET', KEYS[1], 'token', 'answer')
if record[1] ~= ARGV[1] or record[2] then
  return 0
end
return redis.call('DEL', KEYS[1])
