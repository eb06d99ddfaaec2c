-- Marks a job that nobody holds for the sweep that enqueues.
-- KEYS: as in _end
-- ARGV: as in _end, then the attempt at which nobody held it
-- Returns 1, or 0 when something has happened to the job since.
may_exceed_memory(KEYS[1])
local job = this_job()
local record = redis.call("HMGET", job.key, "state", "attempt", "tag")
if (record[1] ~= "queued" and record[1] ~= "running") or record[2] ~= ARGV[4] then return 0 end
if record[1] == "running" then requeue(job.key, job.log, job.channel, now_ms()) end
redis.call("HDEL", job.key, "leader")
if not record[3] then take_place(job) end
redis.call("ZADD", job.pending, 0, job.id)
return 1
