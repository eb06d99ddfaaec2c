-- Accepts a job in one step: the record, event 0, the index and its place in the queue; or what an id, a tombstone or an identical job says.
-- INCLUDES: _log _job _fair _end _same bullmq_add _enqueue
-- KEYS: as in _job, then the tenant's index, and the first part of the keys' names of the version's queue
-- ARGV: id, channel, retention_s, tenant, fingerprint ('' for an id that nobody has chosen),
--       same (key of what is identical to this job, '' when nothing can be), cache_s,
--       keys of its pictures' holders (a space between), deadline_ms (0: none),
--       max_active (how many jobs that have not ended the tenant may have), bytes (of what was sent for this job),
--       max_bytes (of all jobs that have not ended the tenant may have), max_ahead (how many jobs may be before it in the queue),
--       version, priority, cost, what BullMQ keeps of it (JSON) and its options there (JSON),
--       then names and values of the record's other fields
-- Returns {what, number, created_at}: the priority in the queue for `created`, the jobs before it for `overloaded`, else 0; and
-- when the job was accepted, 0 if it was not. What:
--   created   the job is queued
--   joined    it waits for the answer of an identical job that has not ended and is no less urgent
--   answered  it has ended with the answer of an identical job
--   existing  the same tenant has sent the same body with this id before, or our connection the same step; nothing was changed
--   conflict  the id belongs to another tenant or another body; nothing was changed
--   full      the tenant has as many jobs that have not ended as it may; nothing was changed
--   heavy     the tenant's jobs that have not ended have as many bytes as they may; nothing was changed
--   overloaded  it would have to be run, and there are too many before it; nothing was changed
--   deleted   the id's job has been deleted; nothing was changed
local max_followers = 100
local longest_deadline_s = 86400

local job = this_job(KEYS, ARGV)
local tenant, fingerprint, same, cache_s, holders, deadline_ms, max_active, bytes, max_bytes, max_ahead = unpack(ARGV, 4, 13)
local version, priority, cost, entry, entry_options = unpack(ARGV, 14, 18)
local queue = KEYS[10]

if call("EXISTS", job.key) == 1 then
  local known = call("HMGET", job.key, "tenant", "fingerprint", "state", "created_at")
  if known[1] ~= tenant or known[2] ~= fingerprint then return {"conflict", 0, 0} end
  return {known[3] and "existing" or "deleted", 0, tonumber(known[4] or 0)}
end

local limit = tonumber(max_active)
local function active_jobs() return call("ZLEXCOUNT", job.active, "[" .. tenant .. "/", "(" .. tenant .. "0") end
if call("ZCARD", job.active) >= limit and active_jobs() >= limit then return {"full", 0, 0} end
local held = call("HGET", weights(job), tenant) or 0
if held + bytes > tonumber(max_bytes) then
  -- Records that were lost never gave their bytes back.
  if active_jobs() > 0 or tonumber(bytes) > tonumber(max_bytes) then return {"heavy", 0, 0} end
  call("HDEL", weights(job), tenant)
end

local now = now_ms()
local at, kept_s = whole(now), job.retention_s + longest_deadline_s
local outcome, place, is_due = "created", 0, false
local fields = { "state", "queued", "created_at", at, "attempt", "0", "events", "1", "tenant", tenant,
  "fingerprint", fingerprint, "version", version, "priority", priority, "cost", cost, "bytes", bytes }
local function note(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end

-- An identical job may run, or have run, for this one.
local leader, known
if same ~= "" then
  local ranks = { high = 1, normal = 2, low = 3 }
  local first = call("GET", same)
  leader = first and sibling(job, first)
  known = leader and read(leader.key, { "state", "output", "usage", "priority" }) or {}
  local runs = known.state == "running" or known.state == "queued" and ranks[known.priority or "normal"] <= ranks[priority]
  if known.state == "succeeded" then
    outcome = "answered"
  else
    if runs and call("LLEN", leader.followers) < max_followers then outcome = "joined" end
    note("same", same)
    note("cache_s", cache_s)
  end
end
if outcome == "created" then
  local first = call("LLEN", queue .. "wait")
  if first + call("ZCARD", queue .. "prioritized") > tonumber(max_ahead) then
    -- BullMQ's scores are priority * 2^32 and a counter.
    local behind = (next_priority(job, version, tenant, priority, cost) + 1) * 4294967296
    local ahead = first + call("ZCOUNT", queue .. "prioritized", "-inf", "(" .. whole(behind))
    if ahead > tonumber(max_ahead) then return {"overloaded", ahead, 0} end
  end
  local tag, shift
  tag, shift, place, is_due = next_place(job, version, tenant, priority, cost, now)
  note("tag", tag)
  note("shift", shift)
elseif outcome == "joined" then
  note("leader", leader.id)
end
if deadline_ms ~= "0" then
  local deadline_at = whole(now + deadline_ms)
  note("deadline_at", deadline_at)
  call("ZADD", job.deadlines, deadline_at, job.id)
end
for i = 19, #ARGV do fields[#fields + 1] = ARGV[i] end

call("HSET", job.key, unpack(fields))
log_event(job, 0, at, "queued", "") -- nobody can listen to it yet
keep(job, tonumber(deadline_ms))
call("ZADD", job.active, "0", active_name(tenant, job.id))
call("HINCRBY", weights(job), tenant, bytes)
call("ZADD", KEYS[9], at, job.id)
if is_due then
  call("ZREMRANGEBYSCORE", KEYS[9], "-inf", whole(now - kept_s * 1000))
  call("EXPIRE", KEYS[9], kept_s + tidy_every_s)
end
-- Pictures stay for as long as the record does, however often it is begun again.
for holder_list in string.gmatch(holders, "%S+") do
  call("RPUSH", holder_list, job.key)
  call("EXPIRE", holder_list, job.retention_s + kept_s)
end

if outcome == "answered" then
  answer(job, known.output, known.usage)
elseif outcome == "joined" then
  call("RPUSH", leader.followers, job.id)
  call("EXPIRE", leader.followers, job.retention_s)
else
  if same ~= "" then call("SET", same, job.id, "EX", job.retention_s) end
  enqueue(job, queue, entry, entry_options, place, at)
end
return {outcome, place, now}
