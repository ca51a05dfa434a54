-- Shared functions of the event log's scripts.

local SELDOM = 64 -- events after which a room's place in the list is updated

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

-- Drop the oldest events of a room, as far as they are too old, too many or too large together. `number` is the log's.
local function trim(stream, index, state, too_old, most_events, most_bytes, number)
  while state.count > 0
    and (state.first <= too_old or state.bytes > most_bytes or state.count > most_events) do
    local found = redis.call('XRANGE', stream, '-', '+', 'COUNT', 2)
    if not found[1] then
      state.count, state.bytes = 0, 0
      return
    end
    state.first = number_of(found[1])
    if state.first > too_old and state.bytes <= most_bytes and state.count <= most_events then
      return
    end
    redis.call('XDEL', stream, found[1][1])
    state.floor = state.first
    state.bytes, state.count = state.bytes - tonumber(field(found[1], 's')), state.count - 1
    local its_key = field(found[1], 'k')
    if its_key then
      local latest = redis.call('HGET', index, 'key:' .. its_key)
      if latest and string.match(latest, '^%d+') == string.match(found[1][1], '^%d+') then
        redis.call('HDEL', index, 'key:' .. its_key)
      end
    end
    state.first = found[2] and number_of(found[2]) or number
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
