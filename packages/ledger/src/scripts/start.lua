-- Begins a new attempt, which makes every write of an earlier one stale. An attempt that has neither ended nor been handed back
-- when the next one begins was lost with its worker. Its job may have been a bystander: it is a suspect, to be run alone, if
-- the worker is known to have crashed or if this happens again; only one that was alone can have lost too many.
-- KEYS: as in _end
-- ARGV: as in _end, and alone ('1': nothing else runs on the worker; '0'), run (sent twice, it begins one attempt)
-- Returns {attempt, number of the next event, input (JSON), milliseconds to the deadline or -1}, or {0, state} of a job that
-- has ended, or {0} when there is no such job, or {-1, priority} of one that has to wait because others have come before it,
-- or {-2} of a suspect, queued until it is started alone, or {-3} of a job that was alone when its worker came down once too often.
local suspect_after, max_lost = 2, 3
local job = this_job()
local record = read(job.key, { "state", "deadline_at", "run", "version", "tenant", "priority", "tag", "shift", "attempt",
  "suspect", "alone", "events", "input", "first_token_at", "leader",
  "webhook", "tells", "told_at" })
local state = record.state
if not state then return {0} end
if expire_if_due(job, record) then return {0, "expired"} end
if state ~= "queued" and state ~= "running" then return {0, state} end
local at = now_ms()
local left_ms = record.deadline_at and math.max(0, record.deadline_at - at) or -1
if state == "running" and record.run == ARGV[5] then
  return {tonumber(record.attempt), tonumber(record.events), record.input, left_ms}
end
local priority = step_back(job, record)
if priority then return {-1, priority} end
if state == "running" then
  local lost = redis.call("HINCRBY", job.key, "lost", 1)
  if lost >= max_lost and record.alone == "1" then return {-3} end
  if lost >= suspect_after then
    redis.call("HSET", job.key, "suspect", 1)
    record.suspect = "1"
  end
end
if ARGV[4] ~= "1" and record.suspect then
  if state == "running" then requeue(job, record.events, at) end
  return {-2}
end
local attempt, number = record.attempt + 1, tonumber(record.events)
local kinds = attempt > 1 and { "reset", "running" } or { "running" }
local tenant = record.tenant or "default"
local wants, running = wants_of(job, tenant, record.tells), number + #kinds - 1
-- Has `append` leave word of pieces: what follows `told` has not been told, and nothing was before `told_at`.
local telling = is_among(wants, "delta") and { "told", running, "told_at", 0 } or {}
redis.call("HSET", job.key, "state", "running", "attempt", attempt, "events", number + #kinds,
  "started_at", whole(at), "alone", ARGV[4], "run", ARGV[5], unpack(telling))
if record.first_token_at or record.leader then redis.call("HDEL", job.key, "first_token_at", "leader") end
if record.told_at and not telling[1] then redis.call("HDEL", job.key, "told_at") end
redis.call("ZREM", job.pending, job.id)
for i, kind in ipairs(kinds) do emit(job, number + i - 1, at, kind, ',"attempt":' .. attempt) end
if is_among(wants, "running") then tell(job, "running", running, tenant, record.webhook) end
-- The record of a job with a deadline is kept for long enough after that already.
if left_ms < 0 then keep(job) end
return {attempt, number + #kinds, record.input, left_ms}
