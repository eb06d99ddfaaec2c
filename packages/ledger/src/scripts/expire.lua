-- Ends a job whose deadline has passed, and tells the worker that runs it.
-- KEYS: as in _end
-- ARGV: as in _end, then control channel
-- Returns 1, or 0 when it is not due, has ended or is gone.
may_exceed_memory(KEYS[1])
local job = this_job()
local record = read(job.key, { "state", "deadline_at" })
if record.state ~= "queued" and record.state ~= "running" then
  redis.call("ZREM", job.deadlines, job.id)
  return 0
end
if not expire_if_due(job, record) then return 0 end
if record.state == "running" then redis.call("PUBLISH", ARGV[4], "expire " .. ARGV[1]) end
return 1
