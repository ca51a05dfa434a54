-- Forget a quiet room, if the log is still too large or the room has nothing but old events. Returns 1 if it did.
-- KEYS: log, rooms, floors, marks, the room's stream and index.
-- ARGV: the room, the number by which it is listed, now (ms), max_age (ms), total_bytes,
-- max_rooms, how many floors to keep.

local log, rooms, floors, marks, stream, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local room = ARGV[1]
if tonumber(redis.call('ZSCORE', rooms, room) or 0) ~= tonumber(ARGV[2]) then
  return 0
end
local last = tonumber(redis.call('HGET', index, 'last') or ARGV[2])
if last ~= tonumber(ARGV[2]) then -- a room's place in the list is updated from time to time, not with each event
  redis.call('ZADD', rooms, last, room)
  redis.call('HSET', index, 'listed', last)
  return 0
end
local too_old = grow_old(marks, tonumber(ARGV[3]), tonumber(ARGV[4]))
local is_old = last <= too_old
local is_large = tonumber(redis.call('HGET', log, 'bytes') or 0) > tonumber(ARGV[5])
if not is_old and not is_large and redis.call('ZCARD', rooms) <= tonumber(ARGV[6]) then
  return 0
end
redis.call('HINCRBY', log, 'bytes', -(tonumber(redis.call('HGET', index, 'bytes') or 0)))
redis.call('DEL', stream, index)
redis.call('ZREM', rooms, room)
redis.call('ZADD', floors, last, room)
if redis.call('ZCARD', floors) > tonumber(ARGV[7]) then
  local popped = redis.call('ZPOPMIN', floors)
  redis.call('HSET', log, 'floor', popped[2])
end
return 1
