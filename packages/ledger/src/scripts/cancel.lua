-- Cancels a job that has not ended, and tells the worker that runs it.
-- KEYS: job, log, pending
-- ARGV: id, channel, retention_s, control channel
-- Returns 1, 0 when the job had ended, -1 when there is no such job.
local state = redis.call("HGET", KEYS[1], "state")
if not state then return -1 end
if state ~= "queued" and state ~= "running" then return 0 end
finish(KEYS[1], KEYS[2], ARGV[2], ARGV[3], "canceled", "null", "null", "null")
redis.call("ZREM", KEYS[3], ARGV[1])
if state == "running" then redis.call("PUBLISH", ARGV[4], "cancel") end
return 1
