-- Hands a running attempt back: the job is queued again and this attempt is stale.
-- KEYS: job, log
-- ARGV: channel, attempt
-- Returns 1, or 0 when the attempt was stale already or the job has ended.
local record = redis.call("HMGET", KEYS[1], "state", "attempt")
if record[1] ~= "running" or record[2] ~= ARGV[2] then return 0 end
redis.call("HSET", KEYS[1], "state", "queued")
redis.call("HDEL", KEYS[1], "started_at", "first_token_at")
emit(KEYS[1], KEYS[2], ARGV[1], now_ms(), "queued", "")
return 1
