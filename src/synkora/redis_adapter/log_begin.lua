-- Return the epoch and the last number of a log. If there is no log, begin one.
-- KEYS: log. ARGV: epoch for a new log, lifetime of the log (s).

redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return { redis.call('HGET', KEYS[1], 'epoch'), tonumber(redis.call('HGET', KEYS[1], 'number') or 0) }
