-- Shared functions: the beginning of each other script.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) -- ms

-- An instance that is being removed has the score 0.
local function is_registered(instances, instance)
  local beat = redis.call('ZSCORE', instances, instance)
  return beat and tonumber(beat) > 0
end

-- The connections of a project as triples: socket id, instance, JSON.
local function connections(project)
  local fields = redis.call('HGETALL', project)
  local index = -1
  return function()
    index = index + 2
    if fields[index] == '' then
      index = index + 2 -- the version
    end
    local value = fields[index + 1]
    if value then
      local colon = string.find(value, ':', 1, true)
      return fields[index], string.sub(value, 1, colon - 1), string.sub(value, colon + 1)
    end
  end
end

-- Whether a connection is in a project and belongs to an instance.
local function is_owner(project, socket, instance)
  local value = redis.call('HGET', project, socket)
  return value and string.sub(value, 1, #instance + 1) == instance .. ':'
end

-- The JSON of another instance's connection, whose client returns.
local function returned(project, socket, instance)
  local value = redis.call('HGET', project, socket)
  if value and string.sub(value, 1, #instance + 1) ~= instance .. ':' then
    return string.sub(value, string.find(value, ':', 1, true) + 1)
  end
end

-- Webhooks: the keys of the project's known users, of the queue of events and of its state, and the project's id as
-- JSON. Nil without webhooks.
local webhooks
local counts = {} -- changes of the number of connections, by the user's id as JSON
local MOST_EVENTS, MOST_BYTES, KEPT = 10000, 4000000, 86400

local function use_webhooks(users, events, state, id)
  if not users then
    return
  end
  webhooks = { users = users, events = events, state = state, project = cjson.encode(id) }
  counts = {}
end

-- Note that a user has one connection more, or less. The JSON is msgspec's, with its fields in this order.
local function count(json, by)
  local user = string.match(json, '^{"socketId":"[^"]*","userId":(".-"),"userName":')
  if user then
    counts[user] = (counts[user] or 0) + by
  end
end

local function count_stored(project, socket, by)
  local value = webhooks and redis.call('HGET', project, socket)
  if value then
    count(string.sub(value, string.find(value, ':', 1, true) + 1), by)
  end
end

-- Append an event to the queue.
local function push(event, user)
  local data = '{"projectId":' .. webhooks.project .. (user and ',"userId":' .. user or '') .. '}'
  local content = string.format('{"type":"%s","data":', event) .. data .. '}'
  redis.call('XADD', webhooks.events, '*', 'event', content)
  redis.call('HINCRBY', webhooks.state, 'bytes', #content)
end

-- Drop the oldest events of a queue that is full.
local function trim()
  local length = redis.call('XLEN', webhooks.events)
  local bytes = tonumber(redis.call('HGET', webhooks.state, 'bytes') or 0)
  while length > 0 and (length > MOST_EVENTS or bytes > MOST_BYTES) do
    local oldest = redis.call('XRANGE', webhooks.events, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', webhooks.events, oldest[1])
    length = length - 1
    bytes = redis.call('HINCRBY', webhooks.state, 'bytes', -#oldest[2][2])
    redis.call('HINCRBY', webhooks.state, 'dropped', 1)
  end
  redis.call('EXPIRE', webhooks.events, KEPT)
  redis.call('EXPIRE', webhooks.state, KEPT)
end

-- The users of a project that have entered and left since the app's backend was told, from what is in the project: an
-- instance without webhooks has changed it.
local function compare(project, entered, left)
  counts = {}
  for _, _, json in connections(project) do
    count(json, 1)
  end
  for _, user in ipairs(redis.call('HKEYS', webhooks.users)) do
    if not counts[user] then
      left[#left + 1] = user
    end
  end
  for user in pairs(counts) do
    if redis.call('HEXISTS', webhooks.users, user) == 0 then
      entered[#entered + 1] = user
    end
  end
  redis.call('DEL', webhooks.users)
  for user, connected in pairs(counts) do
    redis.call('HSET', webhooks.users, user, connected)
  end
end

-- Queue the events of a project's change from the version `before` to `version`.
local function tell(project, lifetime, before, version)
  local users, entered, left = webhooks.users, {}, {}
  local known = redis.call('HGET', users, '') or '0'
  redis.call('HDEL', users, '')
  local was_vacant = redis.call('HLEN', users) == 0
  if known == before then
    for user, by in pairs(counts) do
      local connected = redis.call('HINCRBY', users, user, by)
      if connected <= 0 then
        redis.call('HDEL', users, user)
      end
      if connected > 0 and connected <= by then
        entered[#entered + 1] = user
      elseif connected <= 0 and connected > by then
        left[#left + 1] = user
      end
    end
  else
    compare(project, entered, left)
  end
  counts = {}
  table.sort(entered)
  table.sort(left)
  local is_vacant = redis.call('HLEN', users) == 0
  if not is_vacant then
    redis.call('HSET', users, '', version)
    redis.call('EXPIRE', users, lifetime)
  end
  if was_vacant and not is_vacant then
    push('project.occupied')
  end
  for _, user in ipairs(entered) do
    push('user.entered', user)
  end
  for _, user in ipairs(left) do
    push('user.left', user)
  end
  if is_vacant and not was_vacant then
    push('project.vacant')
  end
  if #entered + #left > 0 then
    trim()
  end
end

-- Note whether an instance has connections in a project.
local function list_project(projects, id, lifetime, is_there)
  if is_there then
    redis.call('SADD', projects, id)
    redis.call('EXPIRE', projects, lifetime)
  else
    redis.call('SREM', projects, id)
  end
end

-- Give a project's change a version, and announce the change: `left` are socket ids, `joined` are JSON.
local function announce(project, channel, author, lifetime, left, joined)
  if #left == 0 and #joined == 0 then
    return
  end
  local before = redis.call('HGET', project, '') or '0'
  -- With the clock, versions grow even after a project was deleted; with the sum, even after the clock was set back.
  local version = string.format('%.0f', math.max(time[1] * 1000000 + time[2], before + 1))
  redis.call('HSET', project, '', version)
  redis.call('EXPIRE', project, lifetime)
  if redis.call('HLEN', project) == 1 then
    redis.call('DEL', project)
  end
  if webhooks then
    tell(project, lifetime, before, version)
  end
  for index, id in ipairs(left) do
    left[index] = cjson.encode(id)
  end
  redis.call('PUBLISH', channel, string.format(
    '{"author":%s,"before":%s,"version":%s,"left":[%s],"joined":[%s]}',
    cjson.encode(author), before, version, table.concat(left, ','), table.concat(joined, ',')))
end
