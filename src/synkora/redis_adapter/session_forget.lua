-- Drop a session, if there is one.
-- KEYS: the session while it is connected, then all lost sessions: their data by pid, and their pids by time.
-- ARGV: pid.

redis.call('DEL', KEYS[1])
drop(KEYS[2], KEYS[3], ARGV[1])
return 1
