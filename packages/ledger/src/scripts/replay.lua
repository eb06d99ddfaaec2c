-- Has a settled delivery sent again, with a schedule from its beginning and the same id.
-- INCLUDES: _log
-- KEYS: delivery, open deliveries, its tenant's dead ones, outbox
-- ARGV: id, kept_s, tenant
-- Returns 1, 0 when it is not settled, -1 when the tenant has no such delivery.
local record = redis.call("HMGET", KEYS[1], "state", "tenant")
if not record[1] or record[2] ~= ARGV[3] then return -1 end
if record[1] == "pending" then return 0 end
local at = now_ms()
redis.call("HSET", KEYS[1], "state", "pending", "reason", "", "tried", 0, "asked_at", at, "next_at", at)
redis.call("EXPIRE", KEYS[1], ARGV[2])
redis.call("ZADD", KEYS[2], at, ARGV[1])
redis.call("ZREM", KEYS[3], ARGV[1])
redis.call("XADD", KEYS[4], "*", "delivery", ARGV[1])
return 1
