-- Say that an instance is alive, and give some of its projects a new lifetime. Returns the instances that have not been
-- heard of for too long, and the versions of those projects. False if the instance is not registered, unless that is
-- what is asked for.
-- KEYS: instances, the instance's projects, then some of these projects.
-- ARGV: instance, how long is too long (ms), lifetime (s), whether to register ('1').

local instance, silence, lifetime = ARGV[1], ARGV[2], ARGV[3]
if ARGV[4] ~= '1' and not is_registered(KEYS[1], instance) then
  return false
end
redis.call('ZADD', KEYS[1], now, instance)
local versions = {}
for index, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, lifetime)
  if index > 2 then
    versions[index - 2] = redis.call('HGET', key, '') or '0'
  end
end
return { redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - silence), versions }
