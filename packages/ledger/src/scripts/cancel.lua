-- Cancels a job that has not ended, and tells the worker that runs it.
-- INCLUDES: _log _job _fair _end _same _settle
-- KEYS: as in _job
-- ARGV: as in _job, then tenant, control channel
-- Returns 1, 0 when the job had ended, -1 when the tenant has no such job.
local job = this_job(KEYS, ARGV)
local record = read_end(job)
if not record.state or record.tenant ~= ARGV[4] then return -1 end
if record.state ~= "queued" and record.state ~= "running" then return 0 end
finish(job, record, "canceled", "null", "null", "null")
if record.state == "running" then call("PUBLISH", ARGV[5], "cancel " .. job.id) end
return 1
