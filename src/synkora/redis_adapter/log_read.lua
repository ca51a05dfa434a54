-- Return what a socket has missed: a reason why that is not known, or '', the epoch, the last number, how many events
-- were looked at, the events, and for an instance how many of the rooms were read, and why some of them failed: one room with
-- too much, or without some of its events, costs the others nothing. It writes nothing: it also runs while Redis refuses writes.
-- KEYS: log, rooms, floors, marks, then for each room its stream and its index.
-- ARGV: epoch and number of the position, now (ms), max_age (ms), replay_events,
-- replay_bytes, read_events, whether it reads for a client ('1'): events that leave out one of the rooms are left out;
-- then for each room its name, the number after which it is read, and whether it was joined ('1'). A room that was not
-- joined is the socket's id. Events for members only are left out there. If there are no others, because somebody has
-- named a project like the id, nothing is read. Events for members only leave out a socket, and nobody who is in a room.

local log, rooms, floors, marks, after = KEYS[1], KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[2])
local max_events, max_bytes, max_read = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local leaves_out = ARGV[8] == '1'
local FIRST_ROOM, CHUNK = 9, math.min(500, max_read + 1)
local known = redis.call('HMGET', log, 'epoch', 'number', 'skipped_from', 'skipped_to')
local epoch, last = known[1] or '', tonumber(known[2] or 0)
local is_skipped = known[3] and after > tonumber(known[3]) and after <= tonumber(known[4]) -- its event is lost
if epoch ~= ARGV[1] or after > last or is_skipped then
  return { 'epoch', epoch, last, 0 }
end
local too_old = too_old_by(marks, tonumber(ARGV[3]), tonumber(ARGV[4]))
local own, sid, seen, found, size, read = {}, {}, {}, {}, 0, 0
for position = FIRST_ROOM, #ARGV, 3 do
  own[ARGV[position]] = leaves_out
  sid[ARGV[position]] = leaves_out and ARGV[position + 2] ~= '1'
end

-- By the rooms that an event leaves out, as text: a client's own events have the same.
local left_out = { [own] = {}, [sid] = {} }
local function is_left_out(entry)
  local except, names = field(entry, 'x'), field(entry, 'o') and sid or own
  local known = left_out[names]
  if except and known[except] == nil then
    known[except] = false
    for _, room in ipairs(cjson.decode(except)) do
      known[except] = known[except] or names[room] or false
    end
  end
  return except and known[except]
end

-- Add what was missed in a room to what was found. Returns a reason why it is not known.
local function read_room(position)
  local room, from = ARGV[position], math.max(after, tonumber(ARGV[position + 1]))
  local is_joined = ARGV[position + 2] == '1'
  local at = 5 + (position - FIRST_ROOM) / 3 * 2
  local stream, index = KEYS[at], KEYS[at + 1]
  local state = redis.call('HMGET', index, 'floor', 'open')
  local floor, open = tonumber(state[1]), tonumber(state[2])
  if not floor then
    local _
    floor, _, open = floor_of(log, rooms, floors, room)
  end
  if not is_joined and open and from >= open then
    from = last
  end
  if from < floor then
    return 'trimmed'
  end
  local entries
  repeat
    entries = redis.call('XRANGE', stream, string.format('%.0f-0', from + 1), '+', 'COUNT', CHUNK)
    read = read + #entries
    if read > max_read then
      return 'too_many'
    end
    for _, entry in ipairs(entries) do
      from = number_of(entry)
      if from <= too_old then
        return 'trimmed'
      end
      if not (leaves_out and seen[from]) and (is_joined or not field(entry, 'o')) and not is_left_out(entry) then
        seen[from] = true
        local fields = entry[2]
        if fields[7] == 'k' then -- the key is of no use in the answer
          fields[8] = ''
        end
        found[#found + 1] = { from, (position - FIRST_ROOM) / 3, fields }
        size = size + tonumber(field(entry, 's'))
        if #found > max_events or size > max_bytes then
          return 'too_many'
        end
      end
    end
  until #entries < CHUNK
end

local done, failed = 0, {}
for position = FIRST_ROOM, #ARGV, 3 do
  local read_before, found_before, size_before = read, #found, size
  local reason = read_room(position)
  if reason and leaves_out then
    return { reason, epoch, last, read }
  end
  local is_alone = read_before == 0
  if reason then -- the others are still read
    for place = #found, found_before + 1, -1 do
      seen[found[place][1]] = nil
      found[place] = nil
    end
    size = size_before
    if reason == 'too_many' and not is_alone then -- perhaps together with the rooms before: it is read again
      break
    end
    failed[#failed + 1] = reason
  end
  done = done + 1
  if reason == 'too_many' then
    break
  end
end
return { '', epoch, last, read, found, done, failed }
