-- Accepts a job in one step: the record, event 0, the index and the pending mark; or what an id, a tombstone or an identical job says.
-- KEYS: as in _end, then the tenant's index
-- ARGV: id, channel, retention_s, tenant, fingerprint ('' for an id that nobody has chosen),
--       same (key of what is identical to this job, '' when nothing can be), cache_s,
--       keys of its pictures' holders (a space between), deadline_ms (0: none),
--       max_active (how many jobs that have not ended the tenant may have), then names and values of the record's other fields
-- Returns {what, priority in the queue}, the latter 0 but for `created`. What:
--   created   the job is queued and is to be enqueued
--   joined    it waits for the answer of an identical job that has not ended and is no less urgent
--   answered  it has ended with the answer of an identical job
--   existing  the same tenant has sent the same body with this id before, or our connection the same step; nothing was changed
--   conflict  the id belongs to another tenant or another body; nothing was changed
--   full      the tenant has as many jobs that have not ended as it may; nothing was changed
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
local tenant, fingerprint, same, cache_s, holders, deadline_ms, max_active = unpack(ARGV, 4, 10)

if redis.call("EXISTS", job.key) == 1 then
  local known = redis.call("HMGET", job.key, "tenant", "fingerprint", "state")
  if known[1] ~= tenant or known[2] ~= fingerprint then return {"conflict", 0} end
  return {known[3] and "existing" or "deleted", 0}
end

if redis.call("ZLEXCOUNT", job.active, "[" .. tenant .. "/", "(" .. tenant .. "0") >= tonumber(max_active) then
  return {"full", 0}
end

local at = now_ms()
redis.call("HSET", job.key, "state", "queued", "created_at", at, "attempt", 0, "events", 0,
  "tenant", tenant, "fingerprint", fingerprint, unpack(ARGV, 11))
emit(job.key, job.log, job.channel, at, "queued", "")
keep(job, tonumber(deadline_ms))
redis.call("ZADD", job.active, 0, active_name(tenant, job.id))
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

if same ~= "" then
  local first = redis.call("GET", same)
  local leader = first and sibling(job, first)
  local known = leader and redis.call("HMGET", leader.key, "state", "output", "usage", "priority") or {}
  if known[1] == "succeeded" then
    answer(job, known[2], known[3])
    return {"answered", 0}
  end
  redis.call("HSET", job.key, "same", same, "cache_s", cache_s)
  local runs = known[1] == "running"
    or known[1] == "queued" and rank(known[4]) <= rank(redis.call("HGET", job.key, "priority"))
  if runs and redis.call("LLEN", leader.followers) < max_followers then
    redis.call("HSET", job.key, "leader", leader.id)
    redis.call("RPUSH", leader.followers, job.id)
    redis.call("EXPIRE", leader.followers, job.retention_s)
    return {"joined", 0}
  end
  redis.call("SET", same, job.id, "EX", job.retention_s)
end

redis.call("ZADD", job.pending, at, job.id)
return {"created", take_place(job)}
