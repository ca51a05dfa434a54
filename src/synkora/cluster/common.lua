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
  for index, id in ipairs(left) do
    left[index] = cjson.encode(id)
  end
  redis.call('PUBLISH', channel, string.format(
    '{"author":%s,"before":%s,"version":%s,"left":[%s],"joined":[%s]}',
    cjson.encode(author), before, version, table.concat(left, ','), table.concat(joined, ',')))
end
