-- Remove connections from a project, then add others. A connection of another instance keeps its JSON: its client has
-- returned to this instance. False if the instance is not registered.
-- KEYS: instances, the instance's projects, the project; with webhooks the project's known users, the queue, its state.
-- ARGV: instance, project id, channel, lifetime (s), whether some of its connections stay ('1'), number of leaves,
-- their socket ids, then socket id and JSON of each join.

local instance, id, channel, lifetime, stays, leaving = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
if not is_registered(KEYS[1], instance) then
  return false
end
use_webhooks(KEYS[4], KEYS[5], KEYS[6], id)
local left, joined = {}, {}
for index = 7, 6 + leaving do
  if is_owner(KEYS[3], ARGV[index], instance) then -- otherwise its client has returned to another instance
    count_stored(KEYS[3], ARGV[index], -1)
    redis.call('HDEL', KEYS[3], ARGV[index])
    left[#left + 1] = ARGV[index]
  end
end
for index = 7 + leaving, #ARGV, 2 do
  local json = returned(KEYS[3], ARGV[index], instance) or ARGV[index + 1]
  count_stored(KEYS[3], ARGV[index], -1)
  count(json, 1)
  redis.call('HSET', KEYS[3], ARGV[index], instance .. ':' .. json)
  joined[#joined + 1] = json
end
list_project(KEYS[2], id, lifetime, stays == '1')
announce(KEYS[3], channel, instance, lifetime, left, joined)
return 1
