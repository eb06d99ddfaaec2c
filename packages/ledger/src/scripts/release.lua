-- Hands a running attempt back: the job is queued again and this attempt is stale. Sent twice, it happens once.
-- INCLUDES: _full _log _requeue
-- KEYS: job, log
-- ARGV: channel, attempt
-- Returns 1, or 0 when the attempt was stale already or the job has ended.
may_exceed_memory(KEYS[1])
local record = read(KEYS[1], { "state", "attempt", "events" })
if record.state == "queued" and record.attempt == ARGV[2] then return 1 end
if record.state ~= "running" or record.attempt ~= ARGV[2] then return 0 end
requeue({ key = KEYS[1], log = KEYS[2], channel = ARGV[1] }, record.events)
return 1
