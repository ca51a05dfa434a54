-- Remove the first events of the queue, up to this one.
-- KEYS: the queue, its state. ARGV: the id of the last event to remove, most events.

for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', ARGV[2])) do
  redis.call('XDEL', KEYS[1], entry[1])
  redis.call('HINCRBY', KEYS[2], 'bytes', -#entry[2][2])
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('HDEL', KEYS[2], 'bytes')
end
