-- Marks a job that nobody holds for the sweep that enqueues.
-- INCLUDES: _full _log _job _fair _requeue
-- KEYS: as in _job
-- ARGV: as in _job, then the attempt at which nobody held it
-- Returns 1, or 0 when something has happened to the job since.
may_exceed_memory(KEYS[1])
local job = this_job(KEYS, ARGV)
local record = read(job.key, { "state", "attempt", "events", "tag" })
if (record.state ~= "queued" and record.state ~= "running") or record.attempt ~= ARGV[4] then return 0 end
if record.state == "running" then requeue(job, record.events) end
call("HDEL", job.key, "leader")
if not record.tag then take_place(job) end
call("ZADD", job.pending, 0, job.id)
return 1
