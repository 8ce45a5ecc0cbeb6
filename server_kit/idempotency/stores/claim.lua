-- Ask for a key. Only this one key is touched, and it always has a time to live.
--
-- KEYS[1]  the name of the key; a hash of token, fingerprint and answer
-- ARGV     token, fingerprint, lease in milliseconds
-- Returns  {"claimed"}, {"running"}, {"differs"}, {"spent"} or {"kept", answer}

local record = redis.call('HMGET', KEYS[1], 'token', 'fingerprint', 'answer')
local token, fingerprint, answer = record[1], record[2], record[3]

if not fingerprint then
  redis.call('HSET', KEYS[1], 'token', ARGV[1], 'fingerprint', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'claimed'}
end
if fingerprint ~= ARGV[2] then
  return {'differs'}
end
if answer and answer ~= '' then
  return {'kept', answer}
end
if answer or not token then
  return {'spent'}
end
-- A client that lost the reply may have asked a second time.
if token == ARGV[1] then
  return {'claimed'}
end
return {'running'}
