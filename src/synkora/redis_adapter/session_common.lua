-- Shared functions of the session store's scripts. A session is stored as the name of the instance that has taken it
-- last, or else has made it, how often it has been taken, and its data, with colons between them.

-- What is stored of a session, connected or lost; false without one.
local function stored(session, lost, pid)
  return redis.call('GET', session) or redis.call('HGET', lost, pid)
end

-- The instance, and how often the session has been taken; nil if another program has written it.
local function owner(value)
  return string.match(value, '^([^:]*):(%d+):')
end

-- Whether another instance has taken a session since this one did, as the take of this number. A Redis that has gone back
-- to older data may know only of earlier takes.
local function is_taken(session, lost, pid, instance, number)
  local last, takes = owner(stored(session, lost, pid) or '')
  return last and last ~= instance and tonumber(takes) >= tonumber(number)
end

-- Drop a lost session, if there is one. The field '' of the lost sessions has the sum of their bytes.
local function drop(lost, times, pid)
  local size = redis.call('HSTRLEN', lost, pid)
  if size > 0 then
    redis.call('HDEL', lost, pid)
    redis.call('HINCRBY', lost, '', -size)
  end
  redis.call('ZREM', times, pid)
end

-- Drop sessions that have been lost for too long, not all at once: thousands may have been lost at the same time.
local function drop_old(lost, times, now, session_age)
  local horizon = string.format('%.0f', now - session_age)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', horizon, 'LIMIT', 0, 100)) do
    drop(lost, times, old)
  end
end
