-- What the scripts of the session store begin with.

-- Drop the sessions that have been lost for too long.
local function drop_old(lost, times, now, session_age)
  if now == '' then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000) -- ms
  end
  local horizon = string.format('%.0f', now - session_age)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', horizon)) do
    redis.call('HDEL', lost, old)
  end
  redis.call('ZREMRANGEBYSCORE', times, '-inf', horizon)
end
