-- Remove an instance with an expired lease from some of its projects. Returns the ids of some that are left: to be called
-- again with these, until there are none.
-- KEYS: instances, the instance's projects, then some of these projects; with webhooks then the known users of each of
-- these projects, the queue, its state.
-- ARGV: instance, maximum silence (ms), lifetime (s), the calling instance, prefix of a project's channel, number of
-- connections after which no further project is processed, maximum number of ids to return, then the ids of the projects.

local instance, silence, lifetime, author, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local FIRST_ID, FIRST_PROJECT = 8, 3
local beat = redis.call('ZSCORE', KEYS[1], instance)
if not beat or tonumber(beat) > now - silence then
  return {} -- another instance has removed it, or it is back
end
redis.call('ZADD', KEYS[1], 0, instance)
local looked_at = 0
local projects = #ARGV - FIRST_ID + 1
for index = FIRST_PROJECT, FIRST_PROJECT + projects - 1 do
  if looked_at >= tonumber(ARGV[6]) then
    break
  end
  local project, id = KEYS[index], ARGV[FIRST_ID + index - FIRST_PROJECT]
  local left = {}
  if #KEYS > 2 + projects then
    use_webhooks(KEYS[index + projects], KEYS[#KEYS - 1], KEYS[#KEYS], id)
  end
  for socket, owner, json in connections(project) do
    looked_at = looked_at + 1
    if owner == instance then
      redis.call('HDEL', project, socket)
      left[#left + 1] = socket
      count(json, -1)
    end
  end
  announce(project, channel .. id, author, lifetime, left, {})
  redis.call('SREM', KEYS[2], id)
end
local ids = redis.call('SRANDMEMBER', KEYS[2], ARGV[7])
if not ids[1] then
  redis.call('ZREM', KEYS[1], instance)
end
return ids
