-- Notes a try of a delivery, and what follows from it. One that has been settled meanwhile stays so.
-- INCLUDES: _full _log
-- KEYS: delivery, tries, open deliveries, its tenant's dead ones
-- ARGV: id, kept_s, try (JSON, '' for none), state, reason, delay_ms to the next try
-- Returns 1, or 0 when it is gone or settled.
may_exceed_memory(KEYS[1])
local state = redis.call("HGET", KEYS[1], "state")
if not state then
  redis.call("ZREM", KEYS[3], ARGV[1])
  return 0
end
local at = now_ms()
local kept_s = string.format("%.0f", ARGV[2] + math.ceil(ARGV[6] / 1000))
if ARGV[3] ~= "" then
  redis.call("RPUSH", KEYS[2], ARGV[3])
  redis.call("LTRIM", KEYS[2], -100, -1)
  redis.call("EXPIRE", KEYS[2], kept_s)
end
if state ~= "pending" then return 0 end
redis.call("HSET", KEYS[1], "state", ARGV[4], "reason", ARGV[5], "next_at", string.format("%.0f", at + ARGV[6]))
if ARGV[3] ~= "" then redis.call("HINCRBY", KEYS[1], "tried", 1) end
redis.call("EXPIRE", KEYS[1], kept_s)
if ARGV[4] == "pending" then
  redis.call("ZADD", KEYS[3], at + ARGV[6], ARGV[1])
  return 1
end
redis.call("ZREM", KEYS[3], ARGV[1])
if ARGV[4] == "dead" then
  redis.call("ZADD", KEYS[4], at, ARGV[1])
  redis.call("ZREMRANGEBYSCORE", KEYS[4], "-inf", at - ARGV[2] * 1000)
  redis.call("EXPIRE", KEYS[4], ARGV[2])
end
return 1
