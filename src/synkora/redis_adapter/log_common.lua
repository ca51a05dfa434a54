-- Shared functions of the event log's scripts.

local SELDOM = 64 -- events after which a room's place in the list is updated
local MOST_OLD = 100 -- events that a run drops of a room because of their age or number
local MOST_DROPPED = 500 -- events that a run drops of a room one by one

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

-- Up to which number the events of any room without an index and a listed floor are gone.
local function floor_of_all(log)
  return math.floor(redis.call('HGET', log, 'floor') or 0)
end

-- The log outlives its rooms: a log that begins again could not number events of a stream that has higher numbers.
local function room_lifetime(lifetime)
  return lifetime - 86400
end

-- Up to which number the events of a room without an index are gone, whether it had one, which has expired, and up to which
-- number there may have been events that were not for members only: none lately if its floor is listed with a half.
local function floor_of(log, rooms, floors, room)
  local listed = redis.call('ZSCORE', rooms, room)
  if listed then -- its last event is this one, or one of those after which its place would not have been updated
    local floor = math.min(listed + SELDOM - 1, tonumber(redis.call('HGET', log, 'number') or 0))
    return floor, true, floor
  end
  local of_all = floor_of_all(log)
  local known = tonumber(redis.call('ZSCORE', floors, room) or of_all)
  local floor = math.floor(known)
  return floor, false, known == floor and floor or of_all
end

-- Up to which number events are too old, and when that number was given, as its mark says.
local function too_old_by(marks, now, max_age)
  local old = redis.call('ZREVRANGEBYSCORE', marks, now - max_age, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(old[1] or 0), old[2]
end

-- Up to which number events are too old, and when this will next change. Drops the marks that say nothing more.
local function grow_old(marks, now, max_age)
  local too_old, given_at = too_old_by(marks, now, max_age)
  if given_at then
    redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. given_at)
  end
  local younger = redis.call('ZRANGEBYSCORE', marks, '(' .. (now - max_age), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return too_old, younger[2] and younger[2] + max_age or now + max_age
end

-- Forget which events are the latest with their keys, as far as they are those of `numbers`.
local function forget_keys(index, keys, numbers)
  local latest, gone = keys[1] and redis.call('HMGET', index, unpack(keys)) or {}, {}
  for position, value in ipairs(latest) do
    if value and string.match(value, '^%d+') == numbers[position] then
      gone[#gone + 1] = keys[position]
    end
  end
  if gone[1] then
    redis.call('HDEL', index, unpack(gone))
  end
end

-- Keep the newest events of a room, as far as they fit, and fewer than MOST_DROPPED. One at least is looked at and dropped:
-- its number is the floor. The index is made anew, since it may have the keys of all events that are gone.
local function keep_newest(stream, index, state, most_bytes, lifetime)
  redis.call('XTRIM', stream, 'MAXLEN', MOST_DROPPED)
  local entries = redis.call('XRANGE', stream, '-', '+')
  local position, bytes, fields = #entries, 0, {}
  while position > 1 do
    local entry = entries[position]
    local size, its_key = tonumber(field(entry, 's')), field(entry, 'k')
    if bytes + size > most_bytes then
      break
    end
    if its_key then
      fields[#fields + 1], fields[#fields + 2] = 'key:' .. its_key, number_of(entry) .. ':' .. size
    end
    position, bytes = position - 1, bytes + size
  end
  state.bytes, state.count = bytes, #entries - position
  redis.call('XTRIM', stream, 'MAXLEN', state.count)
  if entries[position] then
    state.floor = number_of(entries[position])
    state.first = state.floor + 1
  end
  local names = { 'last', 'listed', 'marked_at', 'open' } -- the caller writes the others
  for at, value in ipairs(redis.call('HMGET', index, unpack(names))) do
    if value then
      fields[#fields + 1], fields[#fields + 2] = names[at], value
    end
  end
  redis.call('DEL', index)
  if fields[1] then
    redis.call('HSET', index, unpack(fields))
  end
  redis.call('EXPIRE', stream, lifetime)
  redis.call('EXPIRE', index, lifetime)
end

-- Drop the oldest events of a room, as far as they are too old, too many or too large together. A run looks at a bounded
-- number of events, since Redis does nothing else meanwhile. What is too old or too many and left goes in the next runs; a
-- read knows old events by their numbers. If too much is left in bytes, the newest events alone are kept, unless it `may_stay`.
local function trim(stream, index, state, too_old, most_events, most_bytes, lifetime, may_stay)
  local dropped, chunk = 0, 2 -- as a rule one event goes; the next one says which is the first then
  local function is_due()
    return state.count > 0
      and (
        state.bytes > most_bytes
        or dropped < MOST_OLD and (state.first <= too_old or state.count > most_events)
      )
  end
  while is_due() do
    if dropped >= MOST_DROPPED then
      if not may_stay then
        keep_newest(stream, index, state, most_bytes, lifetime)
      end
      return
    end
    local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', chunk)
    if not entries[1] then
      state.count, state.bytes = 0, 0
      return
    end
    local ids, keys, numbers = {}, {}, {}
    for _, entry in ipairs(entries) do
      state.first = number_of(entry)
      if not is_due() then
        break
      end
      ids[#ids + 1] = entry[1]
      dropped = dropped + 1
      state.bytes, state.count = state.bytes - tonumber(field(entry, 's')), state.count - 1
      state.floor, state.first = state.first, state.first + 1
      local its_key = field(entry, 'k')
      if its_key then
        keys[#keys + 1], numbers[#numbers + 1] = 'key:' .. its_key, string.match(entry[1], '^%d+')
      end
    end
    if not ids[1] then
      return
    end
    redis.call('XDEL', stream, unpack(ids))
    forget_keys(index, keys, numbers)
    chunk = math.min(2 * chunk, 128)
  end
end

-- List a room among the large ones if it is one: there are at most 1,024, so that few are listed.
local function list_large(large, room, bytes, total_bytes, lifetime)
  if bytes > total_bytes / 1024 then
    redis.call('ZADD', large, bytes, room)
    redis.call('EXPIRE', large, lifetime)
  else
    redis.call('ZREM', large, room)
  end
end

-- How many bytes a log that is too large is to have, and an equal share of them. This makes room for several events.
local function share_of(total_bytes, rooms)
  local most = total_bytes - math.floor(total_bytes / 2048)
  return most, math.floor(most / math.max(redis.call('ZCARD', rooms), 1))
end
