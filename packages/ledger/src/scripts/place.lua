-- Where a job stands in its version's queue.
-- INCLUDES: _log _job _fair
-- KEYS and ARGV: as in _job
-- Returns {version, priority}, or {} when there is no such job.
local job = this_job(KEYS, ARGV)
local version, tag = unpack(call("HMGET", job.key, "version", "tag"))
if not version then return {} end
return {version, priority_of(tag or 0, call("HGET", turns(job, version), "base"))}
