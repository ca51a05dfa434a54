-- Shared functions of the session store's scripts.

-- Drop the sessions that have been lost for too long.
local function drop_old(lost, times, now, session_age)
  local horizon = string.format('%.0f', now - session_age)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', horizon)) do
    redis.call('HDEL', lost, old)
  end
  redis.call('ZREMRANGEBYSCORE', times, '-inf', horizon)
end
