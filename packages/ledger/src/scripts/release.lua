-- Hands a running attempt back: the job is queued again and this attempt is stale. Sent twice, it happens once.
-- KEYS: job, log
-- ARGV: channel, attempt
-- Returns 1, or 0 when the attempt was stale already or the job has ended.
may_exceed_memory(KEYS[1])
local record = redis.call("HMGET", KEYS[1], "state", "attempt")
if record[1] == "queued" and record[2] == ARGV[2] then return 1 end
if record[1] ~= "running" or record[2] ~= ARGV[2] then return 0 end
requeue(KEYS[1], KEYS[2], ARGV[1], now_ms())
return 1
