-- Remove connections from a project, then add others. False if the instance is not registered.
-- KEYS: instances, the instance's projects, the project.
-- ARGV: instance, project id, channel, lifetime (s), whether some of its connections stay ('1'), number of leaves,
-- their socket ids, then socket id and JSON of each join.

local instance, id, channel, lifetime, stays, leaving = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if not is_registered(KEYS[1], instance) then
  return false
end
local left, joined = {}, {}
for index = 7, 6 + leaving do
  if is_owner(KEYS[3], ARGV[index], instance) then -- otherwise its client has returned to another instance
    redis.call('HDEL', KEYS[3], ARGV[index])
    left[#left + 1] = ARGV[index]
  end
end
for index = 7 + leaving, #ARGV, 2 do
  redis.call('HSET', KEYS[3], ARGV[index], instance .. ':' .. ARGV[index + 1])
  joined[#joined + 1] = ARGV[index + 1]
end
if stays == '1' then
  redis.call('SADD', KEYS[2], id)
  redis.call('EXPIRE', KEYS[2], lifetime)
else
  redis.call('SREM', KEYS[2], id)
end
announce(KEYS[3], channel, instance, lifetime, left, joined)
return 1
