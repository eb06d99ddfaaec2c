-- Begins a new attempt, which makes every write of an earlier one stale. An attempt that has neither ended nor been handed back
-- when the next one begins was lost with its worker. Its job may have been a bystander: it is a suspect, to be run alone, if
-- the worker is known to have crashed or if this happens again; only one that was alone can have lost too many.
-- INCLUDES: _log _job _fair _requeue
-- KEYS: as in _job
-- ARGV: as in _job, and alone ('1': nothing else runs on the worker; '0'), run (sent twice, it begins one attempt)
-- Returns {attempt, number of the next event, input (JSON), milliseconds to the deadline or -1}, or {0, state} of a job that
-- has ended, or {0} when there is no such job, or {-1, priority} of one that has to wait because others have come before it,
-- or {-2} of a suspect, queued until it is started alone, or {-3} of a job that was alone when its worker came down once too
-- often, or {-4} of one whose deadline has passed: it is to be expired.
local suspect_after, max_lost = 2, 3
local job = this_job(KEYS, ARGV)
local state, deadline_at, run, version, tenant, level, tag, shift, attempt, suspect, alone, events, input, first_token_at,
  leader, webhook, tells, told_at = unpack(call("HMGET", job.key, "state", "deadline_at", "run", "version", "tenant", "priority",
  "tag", "shift", "attempt", "suspect", "alone", "events", "input", "first_token_at", "leader", "webhook", "tells", "told_at"))
if not state then return {0} end
if state ~= "queued" and state ~= "running" then return {0, state} end
local now = now_ms()
local left_ms = deadline_at and deadline_at - now or -1
if deadline_at and left_ms <= 0 then return {-4} end
if state == "running" and run == ARGV[5] then return {tonumber(attempt), tonumber(events), input, left_ms} end

-- Whether it is the job's turn, which moves the clock; one that has been started before has had it.
local turn, tag = turns(job, version), tonumber(tag or 0)
local clock, base = unpack(call("HMGET", turn, "clock", "base"))
if level and level ~= "high" and attempt == "0" then
  local moved = call("HGET", turn .. ":" .. (tenant or "default"), "shift_" .. level)
  local behind = (moved or 0) - (shift or 0)
  if behind > 0 then
    call("HSET", job.key, "tag", whole(tag + behind), "shift", moved)
    return {-1, priority_of(tag + behind, base)}
  end
end
if tag > tonumber(clock or 0) then call("HSET", turn, "clock", whole(tag)) end

if state == "running" then
  local lost = call("HINCRBY", job.key, "lost", 1)
  if lost >= max_lost and alone == "1" then return {-3} end
  if lost >= suspect_after then
    call("HSET", job.key, "suspect", 1)
    suspect = "1"
  end
end
if suspect and ARGV[4] ~= "1" then
  if state == "running" then requeue(job, events) end
  return {-2}
end

attempt = attempt + 1
local kinds = attempt > 1 and { "reset", "running" } or { "running" }
local at, number, next_number = whole(now), tonumber(events), events + #kinds
local wants = wants_of(job, tenant or "default", tells)
-- Has `append` leave word of pieces: what follows `told` has not been told, and nothing was before `told_at`.
local telling = is_among(wants, "delta") and { "told", next_number - 1, "told_at", 0 } or {}
call("HSET", job.key, "state", "running", "attempt", whole(attempt), "events", whole(next_number),
  "started_at", at, "alone", ARGV[4], "run", ARGV[5], unpack(telling))
if first_token_at or leader then call("HDEL", job.key, "first_token_at", "leader") end
if told_at and not telling[1] then call("HDEL", job.key, "told_at") end
call("ZREM", job.pending, job.id)
for i, kind in ipairs(kinds) do emit(job, number + i - 1, at, kind, ',"attempt":' .. attempt) end
if is_among(wants, "running") then tell(job, "running", next_number - 1, tenant or "default", webhook) end
-- The record of a job with a deadline is kept for long enough after that already.
if left_ms < 0 then keep(job) end
return {attempt, next_number, input, left_ms}
