-- Appends pieces of the running attempt. Sending the same call twice appends once.
-- INCLUDES: _full _log
-- KEYS: job, log, outbox of pieces
-- ARGV: channel, attempt, number that the first piece shall have, then for each piece its type and its text (JSON string)
-- Returns the number of the next event, another one than after these pieces if that was not their place, or -1 when the attempt is stale or the job has ended.
may_exceed_memory(KEYS[1])
local job = { key = KEYS[1], log = KEYS[2], channel = ARGV[1] }
local state, attempt, events, first_token_at, told_at =
  unpack(call("HMGET", job.key, "state", "attempt", "events", "first_token_at", "told_at"))
if state ~= "running" or attempt ~= ARGV[2] then return -1 end
if events ~= ARGV[3] then return tonumber(events) end
local now, count = now_ms(), (#ARGV - 3) / 2
local at, next_number = whole(now), whole(events + count)
if first_token_at then
  call("HSET", job.key, "events", next_number)
else
  call("HSET", job.key, "events", next_number, "first_token_at", at)
end
for i = 1, count do
  emit(job, events + i - 1, at, ARGV[2 + 2 * i], ',"text":' .. ARGV[3 + 2 * i])
end
call("XTRIM", job.log, "MAXLEN", "~", "20000")
if told_at and now - told_at >= 500 then
  -- Best effort: of a process that delivers none of them only the latest are kept.
  local last = events + count - 1
  local word = read(job.key, { "told", "tenant", "webhook" })
  local id = string.match(job.key, "[^:]+$")
  call("XADD", KEYS[3], "MAXLEN", "~", "10000", "*", "pieces_of", id, "from", word.told + 1, "to", last,
    "tenant", word.tenant or "default", unpack(word.webhook and { "webhook", word.webhook } or {}))
  call("HSET", job.key, "told", last, "told_at", at)
end
return tonumber(next_number)
