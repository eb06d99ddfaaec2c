-- Ends a job whose deadline has passed by Redis's clock, and tells the worker that runs it.
-- INCLUDES: _log _job _fair _end _same _settle
-- KEYS: as in _job
-- ARGV: as in _job, then control channel
-- Returns 1, or 0 when it is not due, has ended or is gone.
local job = this_job(KEYS, ARGV)
local record = read_end(job)
if record.state ~= "queued" and record.state ~= "running" then
  call("ZREM", job.deadlines, job.id)
  return 0
end
if not record.deadline_at or now_ms() < tonumber(record.deadline_at) then return 0 end
finish(job, record, "expired", "null", "null",
  '{"code":"deadline_exceeded","message":"The deadline passed before the job was done.","retryable":true}')
if record.state == "running" then call("PUBLISH", ARGV[4], "expire " .. job.id) end
return 1
