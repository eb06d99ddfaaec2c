-- Appends pieces of the running attempt. Sending the same call twice appends once.
-- KEYS: job, log, outbox of pieces
-- ARGV: channel, attempt, number that the first piece shall have, then for each piece its type and its text (JSON string)
-- Returns the number of the next event, another one than after these pieces if that was not their place, or -1 when the attempt is stale or the job has ended.
may_exceed_memory(KEYS[1])
local record = redis.call("HMGET", KEYS[1], "state", "attempt", "events", "first_token_at", "told_at")
if record[1] ~= "running" or record[2] ~= ARGV[2] then return -1 end
if record[3] ~= ARGV[3] then return tonumber(record[3]) end
local at = now_ms()
if not record[4] then redis.call("HSET", KEYS[1], "first_token_at", at) end
for i = 4, #ARGV, 2 do
  emit(KEYS[1], KEYS[2], ARGV[1], at, ARGV[i], ',"text":' .. ARGV[i + 1])
end
local next_event = record[3] + (#ARGV - 3) / 2
if record[5] and at - record[5] >= 500 then
  -- Best effort: of a process that delivers none of them only the latest are kept.
  local word = redis.call("HMGET", KEYS[1], "told", "tenant", "webhook")
  local id = string.match(KEYS[1], "[^:]+$")
  redis.call("XADD", KEYS[3], "MAXLEN", "~", 10000, "*", "pieces_of", id, "from", word[1] + 1, "to", next_event - 1,
    "tenant", word[2] or "default", unpack(word[3] and { "webhook", word[3] } or {}))
  redis.call("HSET", KEYS[1], "told", next_event - 1, "told_at", at)
end
return next_event
