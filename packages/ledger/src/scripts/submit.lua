-- Accepts a job in one step: the record, event 0, the index and the pending mark; or what an id, a tombstone or an identical job says.
-- KEYS: as in _end, then the tenant's index, and of the version's queue the list and the sorted set of jobs that wait
-- ARGV: id, channel, retention_s, tenant, fingerprint ('' for an id that nobody has chosen),
--       same (key of what is identical to this job, '' when nothing can be), cache_s,
--       keys of its pictures' holders (a space between), deadline_ms (0: none),
--       max_active (how many jobs that have not ended the tenant may have), bytes (of what was sent for this job),
--       max_bytes (of all jobs that have not ended the tenant may have), max_ahead (how many jobs may be before it in the queue),
--       then names and values of the record's other fields, of which version, priority and cost must be there
-- Returns {what, number}: the priority in the queue for `created`, the jobs before it for `overloaded`, else 0. What:
--   created   the job is queued and is to be enqueued
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

-- 1 is the most urgent.
local function rank(priority)
  for i, level in ipairs(levels) do
    if level == (priority or "normal") then return i end
  end
end

local job = this_job()
local tenant, fingerprint, same, cache_s, holders, deadline_ms, max_active, bytes, max_bytes, max_ahead = unpack(ARGV, 4, 13)
local fields = {}
for i = 14, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end

if redis.call("EXISTS", job.key) == 1 then
  local known = redis.call("HMGET", job.key, "tenant", "fingerprint", "state")
  if known[1] ~= tenant or known[2] ~= fingerprint then return {"conflict", 0} end
  return {known[3] and "existing" or "deleted", 0}
end

local active = redis.call("ZLEXCOUNT", job.active, "[" .. tenant .. "/", "(" .. tenant .. "0")
if active >= tonumber(max_active) then return {"full", 0} end
-- Records that were lost never gave their bytes back.
if active == 0 then redis.call("HDEL", weights(job), tenant) end
local held = tonumber(redis.call("HGET", weights(job), tenant) or 0)
if held + bytes > tonumber(max_bytes) then return {"heavy", 0} end

local first = same ~= "" and redis.call("GET", same)
local leader = first and sibling(job, first)
local known = leader and redis.call("HMGET", leader.key, "state", "output", "usage", "priority") or {}
local is_answered = known[1] == "succeeded"
local joins = (known[1] == "running" or known[1] == "queued" and rank(known[4]) <= rank(fields.priority))
  and redis.call("LLEN", leader.followers) < max_followers
if not is_answered and not joins then
  local priority = next_priority(job, fields.version, tenant, fields.priority, tonumber(fields.cost))
  -- BullMQ's scores are priority * 2^32 and a counter; who is recorded but not yet in the queue is before it as well.
  local ahead = redis.call("LLEN", KEYS[10]) + redis.call("ZCARD", job.pending)
    + redis.call("ZCOUNT", KEYS[11], "-inf", string.format("(%.0f", (priority + 1) * 4294967296))
  if ahead > tonumber(max_ahead) then return {"overloaded", ahead} end
end

local at = now_ms()
redis.call("HSET", job.key, "state", "queued", "created_at", at, "attempt", 0, "events", 0,
  "tenant", tenant, "fingerprint", fingerprint, "bytes", bytes, unpack(ARGV, 14))
emit(job.key, job.log, job.channel, at, "queued", "")
keep(job, tonumber(deadline_ms))
redis.call("ZADD", job.active, 0, active_name(tenant, job.id))
redis.call("HINCRBY", weights(job), tenant, bytes)
if deadline_ms ~= "0" then
  redis.call("HSET", job.key, "deadline_at", at + deadline_ms)
  redis.call("ZADD", job.deadlines, at + deadline_ms, job.id)
end
local kept_s = job.retention_s + longest_deadline_s
redis.call("ZADD", KEYS[9], at, job.id)
redis.call("ZREMRANGEBYSCORE", KEYS[9], "-inf", at - kept_s * 1000)
redis.call("EXPIRE", KEYS[9], kept_s)
-- Pictures stay for as long as the record does, however often it is begun again.
for holder_list in string.gmatch(holders, "%S+") do
  redis.call("RPUSH", holder_list, job.key)
  redis.call("EXPIRE", holder_list, job.retention_s + kept_s)
end

if is_answered then
  answer(job, known[2], known[3])
  return {"answered", 0}
end
if same ~= "" then
  redis.call("HSET", job.key, "same", same, "cache_s", cache_s)
  if joins then
    redis.call("HSET", job.key, "leader", leader.id)
    redis.call("RPUSH", leader.followers, job.id)
    redis.call("EXPIRE", leader.followers, job.retention_s)
    return {"joined", 0}
  end
  redis.call("SET", same, job.id, "EX", job.retention_s)
end

redis.call("ZADD", job.pending, at, job.id)
return {"created", take_place(job)}
