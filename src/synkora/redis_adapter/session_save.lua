-- Save a session, connected or lost, in place of the one with the same pid.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, data, when it was lost (ms, empty: connected), now (ms), session_age (ms),
-- max_sessions, lifetime (s), session_bytes.

local session, lost, times, pid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
drop(lost, times, pid)
if ARGV[3] == '' then
  redis.call('SET', session, ARGV[2], 'EX', ARGV[7])
  return 1
end
redis.call('DEL', session)
redis.call('HSET', lost, pid, ARGV[2])
redis.call('HINCRBY', lost, '', #ARGV[2])
redis.call('ZADD', times, ARGV[3], pid)
drop_old(lost, times, ARGV[4], ARGV[5])
local max_sessions, max_bytes = tonumber(ARGV[6]), tonumber(ARGV[8])
while redis.call('ZCARD', times) > max_sessions or tonumber(redis.call('HGET', lost, '')) > max_bytes do
  local oldest = redis.call('ZRANGE', times, 0, 0)[1]
  if not oldest then
    break
  end
  drop(lost, times, oldest)
end
redis.call('EXPIRE', lost, ARGV[7])
redis.call('EXPIRE', times, ARGV[7])
return 1
