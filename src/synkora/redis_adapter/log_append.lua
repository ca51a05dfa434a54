-- Number an event, store it in the streams of its rooms, and publish it with its position, atomically.
-- Returns the number (0 if the event had been appended before); now and then rooms for log_forget.lua, each with its second
-- argument, if the log is too large or the quietest room has nothing but old events; and the position of an event that has
-- a name.
-- KEYS: log, rooms, floors, marks, then for each room its stream and its index; then the large rooms; then, if the event
-- has a name, the names.
-- ARGV: epoch for a new log, sender, number among the sender's events, now (ms), channel,
-- the message before and after its place, what comes there: the text ('1') or the position ('0'), max_age (ms),
-- room_events, room_bytes, total_bytes, max_rooms, whether the event is for members only ('1'), lifetime of the log (s),
-- how many arguments are the fields of the entry, these fields (s: size, d: data, n: sender and number, then k: key, if any,
-- …), then the rooms' names; then the event's name, if any, with which it is appended once (empty: always).

if #KEYS % 2 == 0 then -- it may come from a backend with other bounds than those of the servers
  local index = 9
  for bound in string.gmatch(redis.call('HGET', KEYS[1], 'bounds') or '', '%d+') do
    ARGV[index] = bound
    index = index + 1
  end
end
local log, rooms, floors, marks = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sender, max_age = 'sender:' .. ARGV[2], tonumber(ARGV[9])
local room_events, room_bytes, total_bytes = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local FIRST_FIELD, MAX_SENDERS = 17, 1000
local lifetime = room_lifetime(ARGV[15])
local first_room = FIRST_FIELD + tonumber(ARGV[16])
local names = #KEYS % 2 == 0 and KEYS[#KEYS]
local large = KEYS[#KEYS - (names and 1 or 0)]
local name, last_room, MAX_NAMES = names and ARGV[#ARGV], #ARGV - (names and 1 or 0), 100000
local size, text = tonumber(ARGV[FIRST_FIELD + 1]), ARGV[FIRST_FIELD + 3]
local has_key = first_room > FIRST_FIELD + 6 and ARGV[FIRST_FIELD + 6] == 'k' -- otherwise a room may have that name
local key = has_key and 'key:' .. ARGV[FIRST_FIELD + 7]
local is_open = ARGV[14] ~= '1'

if names and name ~= '' then
  local number = redis.call('ZSCORE', names, name)
  if number then
    if tonumber(redis.call('HGET', log, sender) or 0) < tonumber(ARGV[3]) then -- it may be sent again, behind later ones
      redis.call('HSET', log, sender, ARGV[3])
    end
    return { 0, false, string.format('%s.%x', redis.call('HGET', log, 'epoch'), number) }
  end
end

local known = redis.call('HMGET', log, 'epoch', 'number', 'bytes', 'too_old', 'older_at', 'marked_at', sender)
if known[7] and tonumber(known[7]) >= tonumber(ARGV[3]) then
  return { 0 }
end
local epoch, number = known[1] or ARGV[1], tonumber(known[2] or 0) + 1
local total, too_old, older_at = tonumber(known[3] or 0), tonumber(known[4] or 0), tonumber(known[5] or 0)
local now = tonumber(ARGV[4])
local marked_at = tonumber(known[6])
local is_marked = not marked_at or now >= marked_at + max_age / 64
local renews = is_marked
if is_marked then
  redis.call('ZADD', marks, now, number)
  marked_at, older_at = now, 0
end
local is_older = now >= older_at
if is_older then
  too_old, older_at = grow_old(marks, now, max_age)
end

local is_new = false
for position = first_room, last_room do
  local room = ARGV[position]
  local at = 5 + 2 * (position - first_room)
  local stream, index = KEYS[at], KEYS[at + 1]
  local found = redis.call('HMGET', index, 'bytes', 'count', 'first', 'floor', 'listed', 'marked_at', key or 'bytes')
  local before = tonumber(found[1] or 0)
  local state = { bytes = before, count = tonumber(found[2] or 0), first = tonumber(found[3] or number) }
  state.floor = tonumber(found[4])
  local open = is_open and number
  if not state.floor then
    local is_expired, last_open
    state.floor, is_expired, last_open = floor_of(log, rooms, floors, room)
    open = open or last_open
    if is_expired then -- nothing says how many bytes it had: the mean
      total = total - math.floor(total / redis.call('ZCARD', rooms))
    end
  end
  local first, floor = state.first, state.floor
  local listed = tonumber(found[5])
  if not listed then
    redis.call('ZREM', floors, room)
    is_new = true
    if redis.call('ZCARD', rooms) == 0 then -- all have expired: clients that come renew the log, but not its rooms
      total = 0
    end
  end
  if key and found[7] then
    local replaced, its_size = string.match(found[7], '^(%d+):(%d+)$')
    redis.call('XDEL', stream, replaced .. '-0')
    state.bytes, state.count = state.bytes - tonumber(its_size), state.count - 1
  end
  if state.count == 0 then
    state.first = number
  end
  redis.call('XADD', stream, number .. '-0', unpack(ARGV, FIRST_FIELD, first_room - 1))
  state.bytes, state.count = state.bytes + size, state.count + 1
  trim(stream, index, state, too_old, room_events, room_bytes, lifetime)
  local excess = total + state.bytes - before - total_bytes
  if excess > 0 then -- a room with more than its share makes room for itself: a flood costs no other room
    local share = math.floor(total_bytes / (redis.call('ZCARD', rooms) + (listed and 0 or 1)))
    trim(stream, index, state, too_old, room_events, math.max(share, state.bytes - excess, size), lifetime)
  end
  -- What has not changed is not written: each field costs time.
  local changes = { 'bytes', state.bytes, 'count', state.count, 'last', number }
  local function change(name, value)
    changes[#changes + 1], changes[#changes + 2] = name, value
  end
  if key and state.count > 0 then
    change(key, number .. ':' .. size)
  elseif key and found[7] then -- the event was larger than the room's bound, and the one with its key is replaced
    redis.call('HDEL', index, key)
  end
  if state.first ~= first or not found[3] then
    change('first', state.first)
  end
  if state.floor ~= floor or not found[4] then
    change('floor', state.floor)
  end
  if open then
    change('open', open)
  end
  if not listed or number - listed >= SELDOM then
    redis.call('ZADD', rooms, number, room)
    change('listed', number)
  end
  local is_renewed = tonumber(found[6]) ~= marked_at
  if is_renewed then
    change('marked_at', marked_at)
    renews = true
  end
  redis.call('HSET', index, unpack(changes))
  if is_renewed then
    redis.call('EXPIRE', stream, lifetime)
    redis.call('EXPIRE', index, lifetime)
  end
  total = total + state.bytes - before
  if state.bytes > total_bytes / 1024 then
    local known = tonumber(redis.call('ZSCORE', large, room) or 0)
    if math.abs(state.bytes - known) > known / 8 then
      list_large(large, room, state.bytes, total_bytes, ARGV[15])
    end
  elseif before > total_bytes / 1024 then
    redis.call('ZREM', large, room)
  end
end

redis.call('HSET', log, 'number', number, 'bytes', math.max(total, 0), sender, ARGV[3])
if is_marked or is_older then
  redis.call('HSET', log, 'epoch', epoch, 'too_old', too_old, 'older_at', older_at, 'marked_at', marked_at)
end
if renews then
  for position = 1, 4 do
    redis.call('EXPIRE', KEYS[position], ARGV[15])
  end
  redis.call('EXPIRE', large, ARGV[15])
end
if names and name ~= '' then
  redis.call('ZADD', names, number, name)
  if redis.call('ZCARD', names) > MAX_NAMES then
    redis.call('ZREM', names, redis.call('ZRANGE', names, 0, 0)[1])
  end
  redis.call('EXPIRE', names, ARGV[15])
end
local is_seldom = number % SELDOM == 1
if is_seldom then
  if redis.call('HLEN', log) > MAX_SENDERS then
    for _, name in ipairs(redis.call('HKEYS', log)) do
      if string.sub(name, 1, 7) == 'sender:' and name ~= sender then
        redis.call('HDEL', log, name)
      end
    end
  end
end

local place = string.format('%s.%x', epoch, number)
if ARGV[8] == '1' then
  text = string.sub(text, 1, -2) .. ',"' .. place .. '"]'
  redis.call('PUBLISH', ARGV[5], ARGV[6] .. '\219' .. struct.pack('>I4', #text) .. text .. ARGV[7])
else
  redis.call('PUBLISH', ARGV[5], ARGV[6] .. string.char(160 + #place) .. place .. ARGV[7])
end

-- Add the largest rooms to `found`, of equal ones the quietest first, as far as they have to be trimmed. Returns whether
-- this makes room. A room may have an eighth more than its place in the list says.
local function find_large(found)
  local largest = {}
  for position, value in ipairs(redis.call('ZREVRANGE', large, 0, 7, 'WITHSCORES')) do
    if position % 2 == 1 then
      largest[#largest + 1] = { room = value, listed = tonumber(redis.call('ZSCORE', rooms, value) or 0) }
    else
      largest[#largest].bytes = tonumber(value)
    end
  end
  table.sort(largest, function(one, other)
    return one.bytes > other.bytes or one.bytes == other.bytes and one.listed < other.listed
  end)
  local most, share = share_of(total_bytes, rooms)
  local excess = total - most
  for _, each in ipairs(largest) do
    if excess > 0 and each.bytes * 9 / 8 > share then
      found[#found + 1], found[#found + 2] = each.room, ''
      excess = excess - math.max(each.bytes - share, 0)
    end
  end
  return excess <= 0
end

local is_large = total > total_bytes
if is_seldom or is_new or is_large then
  local found, oldest = {}, redis.call('ZRANGE', rooms, 0, 7, 'WITHSCORES')
  local is_left = is_large and not find_large(found)
  if is_left or tonumber(oldest[2]) <= too_old or redis.call('ZCARD', rooms) > tonumber(ARGV[13]) then
    for _, value in ipairs(oldest) do
      found[#found + 1] = value
    end
  end
  if found[1] then
    return { number, found, place }
  end
end
return names and { number, false, place } or { number }
