-- Return those of an instance's sessions that other instances have taken.
-- KEYS: all lost sessions: their data by pid, then each session while it is connected.
-- ARGV: instance, then of each session its pid, and the number of the instance's take.

local taken = {}
for index = 2, #KEYS do
  local pid = ARGV[2 * index - 2]
  if is_taken(KEYS[index], KEYS[1], pid, ARGV[1], ARGV[2 * index - 1]) then
    taken[#taken + 1] = pid
  end
end
return taken
