-- Begins a new attempt, which makes every write of an earlier one stale.
-- KEYS: job, log, pending, followers
-- ARGV: id, channel, retention_s
-- Returns {attempt, number of the next event, input (JSON)}, or {0, state} of a job that has ended, or {0} when there is no such job.
local state = redis.call("HGET", KEYS[1], "state")
if not state then return {0} end
if state ~= "queued" and state ~= "running" then return {0, state} end
local at = now_ms()
local attempt = redis.call("HINCRBY", KEYS[1], "attempt", 1)
redis.call("HSET", KEYS[1], "state", "running", "started_at", at)
redis.call("HDEL", KEYS[1], "first_token_at", "leader")
redis.call("ZREM", KEYS[3], ARGV[1])
local fields = ',"attempt":' .. attempt
if attempt > 1 then emit(KEYS[1], KEYS[2], ARGV[2], at, "reset", fields) end
emit(KEYS[1], KEYS[2], ARGV[2], at, "running", fields)
redis.call("EXPIRE", KEYS[1], ARGV[3])
redis.call("EXPIRE", KEYS[2], ARGV[3])
return {attempt, tonumber(redis.call("HGET", KEYS[1], "events")), redis.call("HGET", KEYS[1], "input")}
