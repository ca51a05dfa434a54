-- The first events of the queue, for the one instance that sends: with a lease, which a call takes or renews. Returns the
-- number of events, of those that have been dropped since the last call, and some of the first; false if another
-- instance has the lease.
-- KEYS: the sender, the queue, its state.
-- ARGV: instance, duration of the lease (ms; 0 ends it), most events.

local sender, queue, state = KEYS[1], KEYS[2], KEYS[3]
local holder = redis.call('GET', sender)
if holder and holder ~= ARGV[1] then
  return false
end
if ARGV[2] == '0' then
  redis.call('DEL', sender)
  return false
end
redis.call('SET', sender, ARGV[1], 'PX', ARGV[2])
local dropped = tonumber(redis.call('HGET', state, 'dropped') or 0)
redis.call('HDEL', state, 'dropped')
return { redis.call('XLEN', queue), dropped, redis.call('XRANGE', queue, '-', '+', 'COUNT', ARGV[3]) }
