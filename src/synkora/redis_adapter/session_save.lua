-- Save a session, connected or lost, in place of the one with the same pid.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, data, when it was lost (ms, empty: connected), now (ms), session_age (ms),
-- max_sessions, lifetime (s).

local session, lost, times, pid = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if ARGV[3] == '' then
  redis.call('SET', session, ARGV[2], 'EX', ARGV[7])
  redis.call('HDEL', lost, pid)
  redis.call('ZREM', times, pid)
  return 1
end
redis.call('DEL', session)
redis.call('HSET', lost, pid, ARGV[2])
redis.call('ZADD', times, ARGV[3], pid)
drop_old(lost, times, ARGV[4], ARGV[5])
local extra = redis.call('ZCARD', times) - tonumber(ARGV[6])
if extra > 0 then
  for _, old in ipairs(redis.call('ZRANGE', times, 0, extra - 1)) do
    redis.call('HDEL', lost, old)
  end
  redis.call('ZREMRANGEBYRANK', times, 0, extra - 1)
end
redis.call('EXPIRE', lost, ARGV[7])
redis.call('EXPIRE', times, ARGV[7])
return 1
