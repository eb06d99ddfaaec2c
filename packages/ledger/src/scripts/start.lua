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
local state = redis.call("HGET", KEYS[1], "state")
if not state then return {0} end
if expire_if_due(job, state) then return {0, "expired"} end
if state ~= "queued" and state ~= "running" then return {0, state} end
local function begun(at)
  local record = redis.call("HMGET", KEYS[1], "attempt", "events", "input", "deadline_at")
  local left_ms = record[4] and tonumber(record[4]) - at or -1
  keep(job, left_ms)
  return {tonumber(record[1]), tonumber(record[2]), record[3], left_ms}
end
local at = now_ms()
if state == "running" and redis.call("HGET", KEYS[1], "run") == ARGV[5] then return begun(at) end
local priority = step_back(job)
if priority then return {-1, priority} end
if state == "running" then
  local lost = redis.call("HINCRBY", KEYS[1], "lost", 1)
  if lost >= max_lost and redis.call("HGET", KEYS[1], "alone") == "1" then return {-3} end
  if lost >= suspect_after then redis.call("HSET", KEYS[1], "suspect", 1) end
end
if ARGV[4] ~= "1" and redis.call("HEXISTS", KEYS[1], "suspect") == 1 then
  if state == "running" then requeue(KEYS[1], KEYS[2], ARGV[2], at) end
  return {-2}
end
local attempt = redis.call("HINCRBY", KEYS[1], "attempt", 1)
redis.call("HSET", KEYS[1], "state", "running", "started_at", at, "alone", ARGV[4], "run", ARGV[5])
redis.call("HDEL", KEYS[1], "first_token_at", "leader")
redis.call("ZREM", KEYS[3], ARGV[1])
local fields = ',"attempt":' .. attempt
if attempt > 1 then emit(KEYS[1], KEYS[2], ARGV[2], at, "reset", fields) end
local event = emit(KEYS[1], KEYS[2], ARGV[2], at, "running", fields)
local record = redis.call("HMGET", KEYS[1], "tenant", "webhook", "tells")
local tenant = record[1] or "default"
local wants = wants_of(job, tenant, record[3])
if is_among(wants, "running") then tell(job, "running", event, tenant, record[2]) end
-- Has `append` leave word of pieces: what follows `told` has not been told, and nothing was before `told_at`.
if is_among(wants, "delta") then
  redis.call("HSET", KEYS[1], "told", event, "told_at", 0)
else
  redis.call("HDEL", KEYS[1], "told_at")
end
return begun(at)
