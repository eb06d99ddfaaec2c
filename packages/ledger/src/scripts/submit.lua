-- Writes the record, event 0, the index and the pending mark in one step.
-- KEYS: job, log, pending, index
-- ARGV: id, channel, retention_s, model, version, input (JSON), metadata (JSON)
-- Returns 1, or 0 when the id exists already and nothing was changed.
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
local at = now_ms()
redis.call("HSET", KEYS[1], "state", "queued", "created_at", at, "attempt", 0, "events", 0,
  "model", ARGV[4], "version", ARGV[5], "input", ARGV[6], "metadata", ARGV[7])
emit(KEYS[1], KEYS[2], ARGV[2], at, "queued", "")
redis.call("EXPIRE", KEYS[1], ARGV[3])
redis.call("EXPIRE", KEYS[2], ARGV[3])
redis.call("ZADD", KEYS[3], at, ARGV[1])
redis.call("ZADD", KEYS[4], at, ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[4], "-inf", at - ARGV[3] * 1000)
return 1
