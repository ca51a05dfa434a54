-- Number an event, keep it in the streams of its rooms, and publish it with its position: all at one moment.
-- Returns the number (0 if the event had been appended before), and quiet rooms with their last numbers, if the log
-- is too large or the first of them has nothing but old events.
-- KEYS: log, rooms, floors, marks, the sender's last event, then for each room its stream and its index.
-- ARGV: epoch for a new log, number among the sender's events, now (ms, empty: the clock of Redis), channel,
-- the message before and after its place, what comes there: the text ('1') or the position ('0'), max_age (ms),
-- room_events, room_bytes, total_bytes, max_rooms, lifetime of a room (s), lifetime of the log (s), how many arguments
-- are the fields of the entry, these fields (s: size, d: data, k: key, …), then the names of the rooms.

local log, rooms, floors, marks, sender = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local max_age, room_events, room_bytes = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local FIRST_FIELD = 16
local first_room = FIRST_FIELD + tonumber(ARGV[15])

local sent = redis.call('GET', sender)
if sent and tonumber(sent) >= tonumber(ARGV[2]) then
  return { 0 }
end
redis.call('SET', sender, ARGV[2], 'EX', ARGV[14])
redis.call('HSETNX', log, 'epoch', ARGV[1])
local epoch = redis.call('HGET', log, 'epoch')
local number = redis.call('HINCRBY', log, 'number', 1)
local too_old = grow_old(marks, clock(ARGV[3]), max_age, number)

local entry, fields = {}, {}
for position = FIRST_FIELD, first_room - 1, 2 do
  entry[#entry + 1], entry[#entry + 2] = ARGV[position], ARGV[position + 1]
  fields[ARGV[position]] = ARGV[position + 1]
end
local size, change = tonumber(fields.s), 0
for position = first_room, #ARGV do
  local room = ARGV[position]
  local at = 6 + 2 * (position - first_room)
  local stream, index = KEYS[at], KEYS[at + 1]
  local before = tonumber(redis.call('HGET', index, 'bytes'))
  if not before then
    before = 0
    redis.call('HSET', index, 'floor', floor_of(log, floors, room))
    redis.call('ZREM', floors, room)
  end
  local bytes = before
  if fields.k then
    local replaced = redis.call('HGET', index, 'key:' .. fields.k)
    if replaced then
      local found = redis.call('XRANGE', stream, replaced, replaced)[1]
      if found then
        bytes = bytes - tonumber(field(found, 's'))
        redis.call('XDEL', stream, replaced)
      end
    end
    redis.call('HSET', index, 'key:' .. fields.k, number)
  end
  redis.call('XADD', stream, number .. '-0', unpack(entry))
  redis.call('HSET', index, 'bytes', bytes + size)
  change = change + trim(stream, index, too_old, room_events, room_bytes) - before
  redis.call('ZADD', rooms, number, room)
  redis.call('EXPIRE', stream, ARGV[13])
  redis.call('EXPIRE', index, ARGV[13])
end
local total = redis.call('HINCRBY', log, 'bytes', change)
for position = 1, 4 do
  redis.call('EXPIRE', KEYS[position], ARGV[14])
end

local place = string.format('%s.%x', epoch, number)
if ARGV[7] == '1' then
  local text = string.sub(fields.d, 1, -2) .. ',"' .. place .. '"]'
  redis.call('PUBLISH', ARGV[4], ARGV[5] .. '\219' .. struct.pack('>I4', #text) .. text .. ARGV[6])
else
  redis.call('PUBLISH', ARGV[4], ARGV[5] .. string.char(160 + #place) .. place .. ARGV[6])
end

local oldest = redis.call('ZRANGE', rooms, 0, 7, 'WITHSCORES')
if total > tonumber(ARGV[11]) or redis.call('ZCARD', rooms) > tonumber(ARGV[12]) or tonumber(oldest[2]) <= too_old then
  return { number, oldest }
end
return { number }
