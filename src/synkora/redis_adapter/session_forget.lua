-- Drop a session, if there is one, unless another instance has taken it.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid, instance, number of its take.

if not is_taken(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]) then
  redis.call('DEL', KEYS[1])
  drop(KEYS[2], KEYS[3], ARGV[1])
end
return {}
