-- Ends the running attempt with its result. Terminal states are final.
-- KEYS: as in _end
-- ARGV: as in _end, then attempt ('' ends the job whatever its attempt), state, output, usage, error (JSON),
--       the number that the terminal event has at least
-- Returns 1, or 0 when the attempt is stale, the job has ended or there is no such job, or -1 when events before the end are missing.
may_exceed_memory(KEYS[1])
local record = redis.call("HMGET", KEYS[1], "state", "attempt", "events")
if ARGV[4] == "" then
  if record[1] ~= "running" and record[1] ~= "queued" then return 0 end
elseif record[1] ~= "running" or record[2] ~= ARGV[4] then
  return 0
end
if tonumber(record[3]) < tonumber(ARGV[9]) then return -1 end
finish(this_job(), unpack(ARGV, 5, 8))
return 1
