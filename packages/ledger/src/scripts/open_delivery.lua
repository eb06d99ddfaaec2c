-- Records a delivery, once.
-- INCLUDES: _log
-- KEYS: delivery, open deliveries, outbox, and the indexes it stands in: its tenant's, its job's, its endpoint's (the tenant's again where there is none)
-- ARGV: id, kept_s, '1' to leave word in the outbox that it is to be sent, then names and values of its fields
-- Returns 1, or 0 when it was there.
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
local at = now_ms()
redis.call("HSET", KEYS[1], "state", "pending", "tried", 0, "created_at", at, "asked_at", at, "next_at", at, unpack(ARGV, 4))
redis.call("EXPIRE", KEYS[1], ARGV[2])
redis.call("ZADD", KEYS[2], at, ARGV[1])
for i = 4, 6 do
  redis.call("ZADD", KEYS[i], at, ARGV[1])
  redis.call("ZREMRANGEBYSCORE", KEYS[i], "-inf", at - ARGV[2] * 1000)
  redis.call("EXPIRE", KEYS[i], ARGV[2])
end
if ARGV[3] == "1" then redis.call("XADD", KEYS[3], "*", "delivery", ARGV[1]) end
return 1
