-- Ends the running attempt with its result. Terminal states are final.
-- KEYS: as in _end
-- ARGV: as in _end, then attempt ('' ends the job whatever its attempt), state, output, usage, error (JSON)
-- Returns 1, or 0 when the attempt is stale, the job has ended or there is no such job.
may_exceed_memory(KEYS[1])
local record = redis.call("HMGET", KEYS[1], "state", "attempt")
if ARGV[4] == "" then
  if record[1] ~= "running" and record[1] ~= "queued" then return 0 end
elseif record[1] ~= "running" or record[2] ~= ARGV[4] then
  return 0
end
finish(this_job(), unpack(ARGV, 5, 8))
return 1
