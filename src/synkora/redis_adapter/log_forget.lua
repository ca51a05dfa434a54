-- Make room in a log: drop the oldest events of a large room, down to an equal share, or forget a quiet room, if the log is
-- still too large or the room has nothing but old events. Returns 1 if it did.
-- KEYS: log, rooms, floors, marks, the room's stream and index, the large rooms.
-- ARGV: the room, the number by which a quiet room is listed (empty for a large room), now (ms), max_age (ms), total_bytes,
-- max_rooms, how many floors to keep, lifetime of the log (s).

local log, rooms, floors, marks, stream, index, large = unpack(KEYS)
local room, max_age, total_bytes, max_rooms = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local bounds = {}
for bound in string.gmatch(redis.call('HGET', log, 'bounds') or '', '%d+') do
  bounds[#bounds + 1] = tonumber(bound)
end
if #bounds == 5 then -- those of the servers: this may be a backend with others
  max_age, total_bytes, max_rooms = bounds[1], bounds[4], bounds[5]
end
local total, count = tonumber(redis.call('HGET', log, 'bytes') or 0), redis.call('ZCARD', rooms)
local most, share = share_of(total_bytes, rooms)

local function forget(last, bytes)
  local open = tonumber(redis.call('HGET', index, 'open'))
  local is_closed = open and open <= floor_of_all(log) -- all others were for members only
  redis.call('HSET', log, 'bytes', count > 1 and math.max(total - bytes, 0) or 0)
  redis.call('DEL', stream, index)
  redis.call('ZREM', rooms, room)
  redis.call('ZREM', large, room)
  redis.call('ZADD', floors, is_closed and last + 0.5 or last, room)
  redis.call('EXPIRE', floors, ARGV[8])
  if redis.call('ZCARD', floors) > tonumber(ARGV[7]) then
    local popped = redis.call('ZPOPMIN', floors)
    redis.call('HSET', log, 'floor', math.max(math.floor(popped[2]), floor_of_all(log)))
  end
  return 1
end

if ARGV[2] == '' then
  local found = redis.call('HMGET', index, 'bytes', 'count', 'first', 'floor', 'last')
  local before, last = tonumber(found[1] or 0), tonumber(found[5])
  local state = { bytes = before, count = tonumber(found[2] or 0), first = tonumber(found[3]), floor = tonumber(found[4]) }
  local is_trimmed = total > total_bytes and before > share
  if is_trimmed then
    local may_stay = total <= total_bytes * 9 / 8 -- the next events drop the rest
    local most_bytes = math.max(share, before - (total - most))
    trim(stream, index, state, 0, math.huge, most_bytes, room_lifetime(ARGV[8]), may_stay)
    if state.count == 0 then
      return forget(last, before)
    end
    redis.call('HSET', index, 'bytes', state.bytes, 'count', state.count, 'first', state.first, 'floor', state.floor)
    redis.call('HSET', log, 'bytes', math.max(total - (before - state.bytes), 0))
  end
  list_large(large, room, state.bytes, total_bytes, ARGV[8])
  return is_trimmed and 1 or 0
end

if tonumber(redis.call('ZSCORE', rooms, room) or 0) ~= tonumber(ARGV[2]) then
  return 0
end
local last = tonumber(redis.call('HGET', index, 'last'))
local is_expired = not last
if is_expired then
  last = floor_of(log, rooms, floors, room)
elseif last ~= tonumber(ARGV[2]) then -- a room's place in the list is updated from time to time, not with each event
  redis.call('ZADD', rooms, last, room)
  redis.call('HSET', index, 'listed', last)
  return 0
end
local is_old = is_expired or last <= grow_old(marks, tonumber(ARGV[3]), max_age)
if not is_old and count <= max_rooms then
  if total <= total_bytes then
    return 0
  end
  local largest = redis.call('ZREVRANGE', large, 0, 0, 'WITHSCORES')
  if tonumber(largest[2] or 0) > share and total <= total_bytes * 9 / 8 then -- the next events make room there
    return 0
  end
end
-- Nothing says how many bytes an expired room had: the mean.
return forget(last, is_expired and math.floor(total / count) or tonumber(redis.call('HGET', index, 'bytes')))
