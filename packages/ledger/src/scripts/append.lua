-- Appends pieces of the running attempt. Sending the same call twice appends once.
-- KEYS: job, log, outbox of pieces
-- ARGV: channel, attempt, number that the first piece shall have, then for each piece its type and its text (JSON string)
-- Returns the number of the next event, another one than after these pieces if that was not their place, or -1 when the attempt is stale or the job has ended.
may_exceed_memory(KEYS[1])
local job = { key = KEYS[1], log = KEYS[2], channel = ARGV[1] }
local record = read(job.key, { "state", "attempt", "events", "first_token_at", "told_at" })
if record.state ~= "running" or record.attempt ~= ARGV[2] then return -1 end
if record.events ~= ARGV[3] then return tonumber(record.events) end
local at, number = now_ms(), tonumber(record.events)
local count = (#ARGV - 3) / 2
redis.call("HSET", job.key, "events", number + count, "first_token_at", record.first_token_at or whole(at))
for i = 1, count do
  emit(job, number + i - 1, at, ARGV[2 + 2 * i], ',"text":' .. ARGV[3 + 2 * i])
end
if record.told_at and at - record.told_at >= 500 then
  -- Best effort: of a process that delivers none of them only the latest are kept.
  local last = number + count - 1
  local word = read(job.key, { "told", "tenant", "webhook" })
  local id = string.match(job.key, "[^:]+$")
  redis.call("XADD", KEYS[3], "MAXLEN", "~", "10000", "*", "pieces_of", id, "from", word.told + 1, "to", last,
    "tenant", word.tenant or "default", unpack(word.webhook and { "webhook", word.webhook } or {}))
  redis.call("HSET", job.key, "told", last, "told_at", whole(at))
end
return number + count
