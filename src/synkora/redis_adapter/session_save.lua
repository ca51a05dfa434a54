-- Save a session, connected or lost, in place of the one with the same pid. Returns the pid instead if another instance
-- has taken the session.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, instance, number of its take, data, when it was lost (ms, empty: connected), now (ms), session_age (ms),
-- max_sessions, lifetime (s), session_bytes.

local session, lost, times, pid, lost_at, lifetime = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[5], ARGV[9]
if is_taken(session, lost, pid, ARGV[2], ARGV[3]) then
  return { pid }
end
local value = ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4]
drop(lost, times, pid)
if lost_at == '' then
  redis.call('SET', session, value, 'EX', lifetime)
  return {}
end
redis.call('DEL', session)
redis.call('HSET', lost, pid, value)
redis.call('HINCRBY', lost, '', #value)
redis.call('ZADD', times, lost_at, pid)
drop_old(lost, times, ARGV[6], ARGV[7])
local max_sessions, max_bytes = tonumber(ARGV[8]), tonumber(ARGV[10])
while redis.call('ZCARD', times) > max_sessions or tonumber(redis.call('HGET', lost, '')) > max_bytes do
  local oldest = redis.call('ZRANGE', times, 0, 0)[1]
  if not oldest then
    break
  end
  drop(lost, times, oldest)
end
redis.call('EXPIRE', lost, lifetime)
redis.call('EXPIRE', times, lifetime)
return {}
