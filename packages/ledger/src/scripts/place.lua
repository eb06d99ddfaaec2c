-- Where a job stands in its version's queue.
-- KEYS and ARGV: as in _end
-- Returns {version, priority}, or {} when there is no such job.
local job = this_job()
local record = redis.call("HMGET", job.key, "version", "tag")
if not record[1] then return {} end
local base = redis.call("HGET", turns(job, record[1]), "base")
return {record[1], priority_of(tonumber(record[2] or 0), base)}
