-- Prepare a log for an instance that has connected: after a loss of events, begin a new epoch. Returns the epoch, the last
-- number, and the last number among the sender's events in the log.
-- A Redis that has restarted or taken over may have less of the log than there was: replication and files lag. So no
-- number follows directly those of another Redis: some of the next ones may have been given to events that are lost. An
-- instance that knows of a lost event begins a new epoch: clients cannot get all that they missed.
-- KEYS: log. ARGV: epoch for a new log, name of this Redis' data (empty: unknown), epoch and number of the last event that
-- the instance has got, sender, number of the sender's last event that the log had (0: none lately), lifetime of the
-- log (s).

local log, data, seen, confirmed = KEYS[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[6])
local SKIPPED, NAME = 2 ^ 28, 8 -- a log keeps its name, the beginning of its epochs
redis.call('EXPIRE', log, ARGV[7]) -- first: after that, a Redis whose memory is full takes the rest
if redis.call('HSETNX', log, 'epoch', ARGV[1]) == 1 then
  redis.call('EXPIRE', log, ARGV[7])
end
local known = redis.call('HMGET', log, 'epoch', 'number', 'data', 'skipped_from', 'skipped_to', 'sender:' .. ARGV[5])
local epoch, number, own = known[1], tonumber(known[2] or 0), tonumber(known[6] or 0)
local from, to = tonumber(known[4] or 0), tonumber(known[5] or 0)
if data ~= '' and known[3] ~= data then
  if known[3] and number > 0 then
    from, to = number, number + SKIPPED
    number = to
    redis.call('HSET', log, 'number', number, 'skipped_from', from, 'skipped_to', to)
  end
  redis.call('HSET', log, 'data', data)
end
local is_same = string.sub(epoch, 1, NAME) == string.sub(ARGV[3], 1, NAME)
if own < confirmed or is_same and (seen > number or seen > from and seen <= to) then
  epoch = string.sub(epoch, 1, NAME) .. ARGV[1]
  if is_same and seen > number then
    number = seen + SKIPPED
  end
  redis.call('HSET', log, 'epoch', epoch, 'number', number)
  redis.call('HDEL', log, 'skipped_from', 'skipped_to')
end
return { epoch, number, own }
