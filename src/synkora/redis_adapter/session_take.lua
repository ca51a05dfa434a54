-- Return a session's data and drop the session; nothing if there is none.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, now (ms), session_age (ms).

local session, lost, times, pid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
drop_old(lost, times, ARGV[2], ARGV[3])
local lost_at = tonumber(redis.call('ZSCORE', times, pid) or '')
if lost_at and lost_at <= ARGV[2] - ARGV[3] then
  drop(lost, times, pid)
end
local found = redis.call('GET', session) or redis.call('HGET', lost, pid)
redis.call('DEL', session)
drop(lost, times, pid)
return found
