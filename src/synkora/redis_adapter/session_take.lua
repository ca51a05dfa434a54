-- Take a session, if there is one: return it as it is stored from now on, and tell all instances who has taken it. It is
-- kept until it is saved again.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, instance, now (ms), session_age (ms), lifetime (s), the channel, and the message for the instances.

local session, lost, times, pid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
drop_old(lost, times, ARGV[3], ARGV[4])
local lost_at = tonumber(redis.call('ZSCORE', times, pid) or '')
if lost_at and lost_at <= ARGV[3] - ARGV[4] then
  drop(lost, times, pid)
end
local found = stored(session, lost, pid)
if not found then
  return false
end
local last, takes = owner(found)
if not last then
  return found
end
local value = string.format('%s:%d:', ARGV[2], takes + 1) .. string.sub(found, #last + #takes + 3)
-- What is stored is deleted first: after that, a Redis whose memory is full takes the rest.
if redis.call('DEL', session) == 1 then
  redis.call('SET', session, value, 'EX', ARGV[5])
else
  redis.call('HDEL', lost, pid)
  redis.call('HSET', lost, pid, value)
  redis.call('HINCRBY', lost, '', #value - #found)
end
redis.call('PUBLISH', ARGV[6], ARGV[7])
return value
