-- Forget a quiet room, if the log is still too large or the room has nothing but old events. Returns 1 if it did.
-- KEYS: log, rooms, floors, marks, the room's stream and index.
-- ARGV: the room, the number by which it is listed, now (ms), max_age (ms), total_bytes,
-- max_rooms, how many floors to keep, lifetime of the log (s).

local log, rooms, floors, marks, stream, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local room, max_age, total_bytes, max_rooms = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local bounds = {}
for bound in string.gmatch(redis.call('HGET', log, 'bounds') or '', '%d+') do
  bounds[#bounds + 1] = tonumber(bound)
end
if #bounds == 5 then -- those of the servers: this may be a backend with others
  max_age, total_bytes, max_rooms = bounds[1], bounds[4], bounds[5]
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
local too_old = grow_old(marks, tonumber(ARGV[3]), max_age)
local is_old = is_expired or last <= too_old
local total, count = tonumber(redis.call('HGET', log, 'bytes') or 0), redis.call('ZCARD', rooms)
if not is_old and total <= total_bytes and count <= max_rooms then
  return 0
end
-- Nothing says how many bytes an expired room had: the mean.
local bytes = is_expired and math.floor(total / count) or tonumber(redis.call('HGET', index, 'bytes'))
redis.call('HSET', log, 'bytes', count > 1 and math.max(total - bytes, 0) or 0)
redis.call('DEL', stream, index)
redis.call('ZREM', rooms, room)
redis.call('ZADD', floors, last, room)
redis.call('EXPIRE', floors, ARGV[8])
if redis.call('ZCARD', floors) > tonumber(ARGV[7]) then
  local popped = redis.call('ZPOPMIN', floors)
  redis.call('HSET', log, 'floor', popped[2])
end
return 1
