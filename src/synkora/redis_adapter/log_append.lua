-- Number an event, keep it in the streams of its rooms, and publish it with its position: all at one moment.
-- Returns the number, whether the event had been appended before ('1'), and the rooms that are to be forgotten.
-- KEYS: log, rooms, floors, marks, the sender's last event, then for each room its stream and its index.
-- ARGV: epoch for a new log, number among the sender's events, now (ms, empty: the clock of Redis), channel,
-- how many of the arguments below are the message before and after the text or the position (2), the two parts,
-- whether the message has the whole text ('1') or the position alone, data, meta, attachments (empty: none), size,
-- key (empty: none), max_age (ms), room_events, room_bytes, total_bytes, max_rooms, lifetime (s), then the room names.

local log, rooms, floors, marks, sender = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local head, tail, is_text, data, meta, attachments = ARGV[5], ARGV[6], ARGV[7] == '1', ARGV[8], ARGV[9], ARGV[10]
local size, key, max_age = tonumber(ARGV[11]), ARGV[12], tonumber(ARGV[13])
local room_events, room_bytes = tonumber(ARGV[14]), tonumber(ARGV[15])
local total_bytes, max_rooms, lifetime = tonumber(ARGV[16]), tonumber(ARGV[17]), ARGV[18]
local FIRST_ROOM = 19

local sent = redis.call('GET', sender)
if sent and tonumber(sent) >= tonumber(ARGV[2]) then
  return { 0, 1 }
end
redis.call('SET', sender, ARGV[2], 'EX', lifetime)
redis.call('HSETNX', log, 'epoch', ARGV[1])
local epoch = redis.call('HGET', log, 'epoch')
local number = redis.call('HINCRBY', log, 'number', 1)
local too_old = grow_old(marks, clock(ARGV[3]), max_age, number)

local change = 0
local entry = { 'd', data, 's', size }
if attachments ~= '' then
  entry[7], entry[8] = 'a', attachments
end
for position = FIRST_ROOM, #ARGV do
  local room = ARGV[position]
  local at = 6 + 2 * (position - FIRST_ROOM)
  local stream, index = KEYS[at], KEYS[at + 1]
  local before = tonumber(redis.call('HGET', index, 'bytes') or 0)
  local bytes = before
  if before == 0 and redis.call('EXISTS', index) == 0 then
    redis.call('HSET', index, 'floor', floor_of(log, floors, room))
    redis.call('ZREM', floors, room)
  end
  if key ~= '' then
    local replaced = redis.call('HGET', index, 'key:' .. key)
    if replaced then
      local found = redis.call('XRANGE', stream, replaced, replaced)[1]
      if found then
        bytes = bytes - tonumber(field(found, 's'))
        redis.call('XDEL', stream, replaced)
      end
    end
    redis.call('HSET', index, 'key:' .. key, number)
  end
  redis.call('XADD', stream, number .. '-0', unpack(entry))
  redis.call('HSET', index, 'bytes', bytes + size)
  bytes = trim(stream, index, too_old, room_events, room_bytes)
  change = change + bytes - before
  redis.call('ZADD', rooms, number, room)
  redis.call('EXPIRE', stream, lifetime)
  redis.call('EXPIRE', index, lifetime)
end
local total = redis.call('HINCRBY', log, 'bytes', change)
for position = 1, 4 do
  redis.call('EXPIRE', KEYS[position], lifetime)
end

local place = string.format('%s.%x', epoch, number)
if is_text then
  local text = string.sub(data, 1, -2) .. ',"' .. place .. '"]'
  redis.call('PUBLISH', ARGV[4], head .. '\219' .. struct.pack('>I4', #text) .. text .. tail)
else
  redis.call('PUBLISH', ARGV[4], head .. string.char(160 + #place) .. place .. tail)
end

local oldest = redis.call('ZRANGE', rooms, 0, 0, 'WITHSCORES')
if total > total_bytes or redis.call('ZCARD', rooms) > max_rooms or (oldest[2] and tonumber(oldest[2]) <= too_old) then
  return { number, 0, redis.call('ZRANGE', rooms, 0, 7, 'WITHSCORES') }
end
return { number, 0 }
