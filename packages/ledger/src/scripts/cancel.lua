-- Cancels a job that has not ended, and tells the worker that runs it.
-- KEYS: as in _end
-- ARGV: as in _end, then tenant, control channel
-- Returns 1, 0 when the job had ended, -1 when the tenant has no such job.
may_exceed_memory(KEYS[1])
local record = redis.call("HMGET", KEYS[1], "state", "tenant")
local state = record[1]
if not state or record[2] ~= ARGV[4] then return -1 end
if state ~= "queued" and state ~= "running" then return 0 end
finish(this_job(), "canceled", "null", "null", "null")
if state == "running" then redis.call("PUBLISH", ARGV[5], "cancel " .. ARGV[1]) end
return 1
