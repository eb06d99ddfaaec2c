-- Appends pieces of the running attempt. Sending the same call twice appends once.
-- KEYS: job, log
-- ARGV: channel, attempt, number that the first piece shall have, then for each piece its type and its text (JSON string)
-- Returns the number of the next event, another one than after these pieces if that was not their place, or -1 when the attempt is stale or the job has ended.
may_exceed_memory(KEYS[1])
local record = redis.call("HMGET", KEYS[1], "state", "attempt", "events", "first_token_at")
if record[1] ~= "running" or record[2] ~= ARGV[2] then return -1 end
if record[3] ~= ARGV[3] then return tonumber(record[3]) end
local at = now_ms()
if not record[4] then redis.call("HSET", KEYS[1], "first_token_at", at) end
for i = 4, #ARGV, 2 do
  emit(KEYS[1], KEYS[2], ARGV[1], at, ARGV[i], ',"text":' .. ARGV[i + 1])
end
return record[3] + (#ARGV - 3) / 2
