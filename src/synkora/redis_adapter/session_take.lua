-- Return a session's data, if there is one, and tell all instances who has taken it. It is kept until it is saved again.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, now (ms), session_age (ms), the channel, and the message for the instances.

local session, lost, times, pid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
drop_old(lost, times, ARGV[2], ARGV[3])
local lost_at = tonumber(redis.call('ZSCORE', times, pid) or '')
if lost_at and lost_at <= ARGV[2] - ARGV[3] then
  drop(lost, times, pid)
end
local found = redis.call('GET', session) or redis.call('HGET', lost, pid)
if found then
  redis.call('PUBLISH', ARGV[4], ARGV[5])
end
return found
