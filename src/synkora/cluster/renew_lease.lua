-- Renew an instance's lease and the lifetime of some of its projects, and find the instances that have died. Returns the
-- instances with an expired lease, and the versions of the renewed projects. False if the instance is not registered and the call does not register it.
-- KEYS: instances, the instance's projects, then some of these projects.
-- ARGV: instance, maximum silence (ms), lifetime (s), whether to register ('1').

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
