-- Remove an instance with an expired lease from its projects, some of them at a time: to be called
-- until it returns 0.
-- KEYS: instances, the instance's projects.
-- ARGV: instance, maximum silence (ms), lifetime (s), the calling instance, prefix of a project's key, prefix of its
-- channel, maximum number of connections to process.

local instance, silence, lifetime, author, key, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local beat = redis.call('ZSCORE', KEYS[1], instance)
if not beat or tonumber(beat) > now - silence then
  return 0 -- another instance has removed it, or it is back
end
redis.call('ZADD', KEYS[1], 0, instance)
local looked_at = 0
while looked_at < tonumber(ARGV[7]) do
  local id = redis.call('SPOP', KEYS[2])
  if not id then
    redis.call('ZREM', KEYS[1], instance)
    return 0
  end
  local left = {}
  for socket, owner in connections(key .. id) do
    looked_at = looked_at + 1
    if owner == instance then
      redis.call('HDEL', key .. id, socket)
      left[#left + 1] = socket
    end
  end
  announce(key .. id, channel .. id, author, lifetime, left, {})
end
return 1
