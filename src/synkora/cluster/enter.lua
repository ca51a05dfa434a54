-- Replace an instance's connections in a project by the given ones. Returns the connections of the other
-- instances as JSON, and the adopted connections, whose clients have returned from another instance. False
-- if the instance is not registered; 'large' without a change if the project has more connections than were asked for.
-- KEYS: instances, the instance's projects, the project; with webhooks the project's known users, the queue, its state.
-- ARGV: instance, project id, channel, lifetime (s), most connections besides the given ones (-1: any, -2: any, and
-- they are not returned), then socket id and JSON of each of its connections, and whether it is held ('1'): its client
-- is disconnected, and may have returned to another instance.

local instance, id, channel, lifetime = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not is_registered(KEYS[1], instance) then
  return false
end
local most = tonumber(ARGV[5])
if most >= 0 and redis.call('HLEN', KEYS[3]) - (#ARGV - 5) / 3 > most then
  return 'large'
end
use_webhooks(KEYS[4], KEYS[5], KEYS[6], id)
local own, held, left, joined, others, adopted, registered = {}, {}, {}, {}, {}, {}, {}
for index = 6, #ARGV, 3 do
  own[ARGV[index]] = ARGV[index + 1]
  held[ARGV[index]] = ARGV[index + 2] == '1'
end
for socket, owner, json in connections(KEYS[3]) do
  if owner == instance then
    if own[socket] == json then
      own[socket] = nil -- it is there already
    else
      count(json, -1)
      redis.call('HDEL', KEYS[3], socket)
      left[#left + 1] = socket
    end
  elseif own[socket] and not held[socket] then
    redis.call('HSET', KEYS[3], socket, instance .. ':' .. json)
    joined[#joined + 1] = json
    adopted[#adopted + 1] = json
    own[socket] = nil
  else
    own[socket] = nil
    if registered[owner] == nil then
      registered[owner] = is_registered(KEYS[1], owner)
    end
    if registered[owner] then
      if most ~= -2 then
        others[#others + 1] = json
      end
    else
      count(json, -1)
      redis.call('HDEL', KEYS[3], socket)
      left[#left + 1] = socket
    end
  end
end
for index = 6, #ARGV, 3 do
  if own[ARGV[index]] then
    redis.call('HSET', KEYS[3], ARGV[index], instance .. ':' .. ARGV[index + 1])
    joined[#joined + 1] = ARGV[index + 1]
    count(ARGV[index + 1], 1)
  end
end
list_project(KEYS[2], id, lifetime, #ARGV > 5)
announce(KEYS[3], channel, instance, lifetime, left, joined)
local version = redis.call('HGET', KEYS[3], '') or '0'
return string.format(
  '{"version":%s,"entries":[%s],"adopted":[%s]}', version, table.concat(others, ','), table.concat(adopted, ','))
