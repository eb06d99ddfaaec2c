-- Appends pieces of the running attempt. Sending the same call twice appends once.
-- KEYS: job, log
-- ARGV: channel, attempt, number that the first piece shall have, then for each piece its type and its text (JSON string)
-- Returns the number of the next event, another one than after these pieces if that was not their place, or -1 when the attempt is stale or the job has ended.
may_exceed_memory(KEYS[1])
local job = { key = KEYS[1], log = KEYS[2], channel = ARGV[1] }
local record = read(job.key, { "state", "attempt", "events", "first_token_at" })
if record.state ~= "running" or record.attempt ~= ARGV[2] then return -1 end
if record.events ~= ARGV[3] then return tonumber(record.events) end
local at, number = now_ms(), tonumber(record.events)
local count = (#ARGV - 3) / 2
redis.call("HSET", job.key, "events", number + count, "first_token_at", record.first_token_at or whole(at))
for i = 1, count do
  emit(job, number + i - 1, at, ARGV[2 + 2 * i], ',"text":' .. ARGV[3 + 2 * i])
end
return number + count
