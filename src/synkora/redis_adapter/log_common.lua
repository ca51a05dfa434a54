-- What the scripts of the event log begin with.

local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000) -- ms
end

local function field(entry, name)
  for position = 1, #entry[2], 2 do
    if entry[2][position] == name then
      return entry[2][position + 1]
    end
  end
end

local function number_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- Up to which number the events of a room without an index are gone.
local function floor_of(log, floors, room)
  return tonumber(redis.call('ZSCORE', floors, room) or redis.call('HGET', log, 'floor') or 0)
end

-- Up to which number events are too old. A mark says when a number was given; 64 marks are a maximum age.
local function grow_old(marks, now, max_age, number)
  if number then
    local last = redis.call('ZREVRANGE', marks, 0, 0, 'WITHSCORES')
    if not last[2] or now >= tonumber(last[2]) + max_age / 64 then
      redis.call('ZADD', marks, now, number)
    end
  end
  local old = redis.call('ZREVRANGEBYSCORE', marks, now - max_age, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not old[1] then
    return 0
  end
  redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. old[2])
  return tonumber(old[1])
end

-- Drop the events of a room that are too old or too many; returns the bytes that stay.
local function trim(stream, index, too_old, max_events, max_bytes)
  local bytes, floor = tonumber(redis.call('HGET', index, 'bytes') or 0), nil
  while true do
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not first then
      break
    end
    local number = number_of(first)
    if number > too_old and bytes <= max_bytes and redis.call('XLEN', stream) <= max_events then
      break
    end
    redis.call('XDEL', stream, first[1])
    bytes, floor = bytes - tonumber(field(first, 's')), number
    local key = field(first, 'k')
    if key and redis.call('HGET', index, 'key:' .. key) == tostring(number) then
      redis.call('HDEL', index, 'key:' .. key)
    end
  end
  if floor then
    redis.call('HSET', index, 'floor', floor, 'bytes', bytes)
  end
  return bytes
end
