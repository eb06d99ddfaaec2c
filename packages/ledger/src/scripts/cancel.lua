-- Cancels a job that has not ended, and tells the worker that runs it.
-- KEYS: as in _end
-- ARGV: as in _end, then tenant, control channel
-- Returns 1, 0 when the job had ended, -1 when the tenant has no such job.
may_exceed_memory(KEYS[1])
local job = this_job()
local record = read_end(job)
if not record.state or record.tenant ~= ARGV[4] then return -1 end
if record.state ~= "queued" and record.state ~= "running" then return 0 end
finish(job, record, "canceled", "null", "null", "null")
if record.state == "running" then redis.call("PUBLISH", ARGV[5], "cancel " .. ARGV[1]) end
return 1
