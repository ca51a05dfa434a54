-- Shared functions of the session store's scripts.

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
