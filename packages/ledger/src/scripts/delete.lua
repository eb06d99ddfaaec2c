-- Removes a job that has ended. A tombstone keeps its id from being used again, as long as a job is kept.
-- KEYS: as in _job, then the tenant's index
-- ARGV: id, channel, retention_s, tenant
-- Returns 1, 0 when the job has not ended, -1 when the tenant has no such job.
local record = redis.call("HMGET", KEYS[1], "state", "tenant", "fingerprint")
local state, tenant, fingerprint = unpack(record, 1, 3)
if not state or tenant ~= ARGV[4] then return -1 end
if state == "queued" or state == "running" then return 0 end
redis.call("DEL", KEYS[1], KEYS[2])
redis.call("ZREM", KEYS[9], ARGV[1])
redis.call("HSET", KEYS[1], "tenant", tenant, "fingerprint", fingerprint or "")
redis.call("EXPIRE", KEYS[1], ARGV[3])
return 1
