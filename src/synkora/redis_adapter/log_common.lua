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

-- Up to which number the events of a room without an index are gone, and whether it had one, which has expired.
local function floor_of(log, rooms, floors, room)
  local listed = redis.call('ZSCORE', rooms, room)
  if listed then -- its last event is this one, or one of those after which its place would not have been updated
    return math.min(listed + SELDOM - 1, tonumber(redis.call('HGET', log, 'number') or 0)), true
  end
  return tonumber(redis.call('ZSCORE', floors, room) or redis.call('HGET', log, 'floor') or 0), false
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
