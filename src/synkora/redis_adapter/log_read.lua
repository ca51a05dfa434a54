-- Return what a socket has missed: a reason why that is not known, or '', the last number, and the events in any order.
-- KEYS: log, floors, marks, then for each room its stream and its index.
-- ARGV: epoch and number of the position, now (ms, empty: the clock of Redis), max_age (ms), replay_events,
-- replay_bytes, then for each room its name and the number from which on it is read.

local log, floors, marks, after = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2])
local max_events, max_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local CHUNK = 100
local last = tonumber(redis.call('HGET', log, 'number') or 0)
if (redis.call('HGET', log, 'epoch') or ARGV[1]) ~= ARGV[1] or after > last then
  return { 'epoch' }
end
local too_old = grow_old(marks, clock(ARGV[3]), tonumber(ARGV[4]))
local own, found, size = {}, {}, 0
for position = 7, #ARGV, 2 do
  own[ARGV[position]] = true
end

local function is_left_out(entry)
  local except = field(entry, 'x')
  for _, room in ipairs(except and cjson.decode(except) or {}) do
    if own[room] then
      return true
    end
  end
end

local seen = {}
for position = 7, #ARGV, 2 do
  local room, from = ARGV[position], math.max(after, tonumber(ARGV[position + 1]))
  local stream, index = KEYS[position - 3], KEYS[position - 2]
  local floor = redis.call('HGET', index, 'floor')
  if from < (floor and tonumber(floor) or floor_of(log, floors, room)) then
    return { 'trimmed' }
  end
  local first = redis.call('XRANGE', stream, from + 1 .. '-0', '+', 'COUNT', CHUNK)
  while #first > 0 do
    for _, entry in ipairs(first) do
      local number = number_of(entry)
      if number <= too_old then
        return { 'trimmed' }
      end
      if not seen[number] and not is_left_out(entry) then
        seen[number] = true
        found[#found + 1] = entry
        size = size + tonumber(field(entry, 's'))
        if #found > max_events or size > max_bytes then
          return { 'too_many' }
        end
      end
    end
    from = number_of(first[#first])
    first = #first == CHUNK and redis.call('XRANGE', stream, from + 1 .. '-0', '+', 'COUNT', CHUNK) or {}
  end
end
return { '', last, found }
