-- Shared by the scripts that can end a job: the one way a job ends, and what then becomes of the identical jobs that joined it.
-- They all begin with the same names, which `this_job` reads:
--   KEYS: job, log, pending, followers, deadlines, active, fair, outbox
--   ARGV: id, channel, retention_s

local function this_job()
  return { id = ARGV[1], key = KEYS[1], log = KEYS[2], pending = KEYS[3], followers = KEYS[4], deadlines = KEYS[5],
    active = KEYS[6], fair = KEYS[7], outbox = KEYS[8], channel = ARGV[2], retention_s = ARGV[3] }
end

-- Another job of the same shard: its names differ from this one's in the id at their end.
local function sibling(job, id)
  local function swap(name) return string.sub(name, 1, #name - #job.id) .. id end
  return { id = id, key = swap(job.key), log = swap(job.log), pending = job.pending, followers = swap(job.followers),
    deadlines = job.deadlines, active = job.active, fair = job.fair, outbox = job.outbox,
    channel = swap(job.channel), retention_s = job.retention_s }
end

-- The job's name among those that have not ended.
local function active_name(tenant, id) return (tenant or "default") .. "/" .. id end

-- Hash: how many bytes each tenant's jobs have that have not ended.
local function weights(job) return job.active .. ":bytes" end

-- Keeps record and log for as long as an ended job is kept; one that has not ended, for as long as it has left in addition.
local function keep(job, left_ms)
  local seconds = string.format("%.0f", job.retention_s + math.ceil(math.max(0, left_ms or 0) / 1000))
  redis.call("EXPIRE", job.key, seconds)
  redis.call("EXPIRE", job.log, seconds)
end

local function since(from, to)
  if not from then return "null" end
  return string.format("%.0f", to - tonumber(from))
end

-- What somebody wants to hear of: the job's own webhook (`tells`), or an endpoint of its tenant.
local function wants_of(job, tenant, tells)
  return (tells or "") .. " " .. (redis.call("HGET", job.outbox .. "-wants", tenant) or "")
end
local function is_among(wants, kind) return string.find(wants, "job." .. kind, 1, true) ~= nil end

-- Leaves word in the outbox that the job has got so far.
local function tell(job, kind, event, tenant, webhook)
  redis.call("XADD", job.outbox, "*", "job", job.id, "event", event, "state", kind, "tenant", tenant,
    unpack(webhook and { "webhook", webhook } or {}))
end

-- Writes the terminal state, its result and its event. output, usage and error are JSON text.
local function end_job(job, state, output, usage, error)
  local at = now_ms()
  local record = redis.call("HMGET", job.key, "created_at", "started_at", "first_token_at", "attempt",
    "tenant", "version", "webhook", "tells", "bytes")
  local created = tonumber(record[1])
  local timings = '{"queue_ms":' .. (record[2] and since(created, record[2]) or "null")
    .. ',"first_token_ms":' .. (record[3] and since(created, record[3]) or "null")
    .. ',"total_ms":' .. since(created, at) .. "}"
  redis.call("HSET", job.key, "state", state, "finished_at", at,
    "output", output, "usage", usage, "error", error, "timings", timings)
  local event = emit(job.key, job.log, job.channel, at, state, ',"attempt":' .. record[4] .. ',"output":' .. output
    .. ',"usage":' .. usage .. ',"timings":' .. timings .. ',"error":' .. error)
  keep(job)
  redis.call("ZREM", job.pending, job.id)
  redis.call("ZREM", job.deadlines, job.id)
  redis.call("ZREM", job.active, active_name(record[5], job.id))
  if record[9] then redis.call("HINCRBY", weights(job), record[5], 0 - record[9]) end
  if record[2] then note_end(job, record[6], state, error, at - tonumber(record[2])) end
  local tenant = record[5] or "default"
  if is_among(wants_of(job, tenant, record[8]), state) then tell(job, state, event, tenant, record[7]) end
end

-- Whether an identical job would fail likewise.
local function is_contagious(error)
  return error ~= "null" and not cjson.decode(error).retryable
end

-- Ends a queued job with the answer of an identical one; its log has the whole answer as one piece.
local function answer(job, output, usage)
  local at = now_ms()
  local said = output == "null" and {} or cjson.decode(output)
  redis.call("HSET", job.key, "first_token_at", at, "reused", 1)
  for _, piece in ipairs({ { "reasoning", said.reasoning }, { "delta", said.text } }) do
    local kind, text = piece[1], piece[2]
    if type(text) == "string" and text ~= "" then
      emit(job.key, job.log, job.channel, at, kind, ',"text":' .. cjson.encode(text))
    end
  end
  end_job(job, "succeeded", output, usage, "null")
end

-- The jobs that joined this one and still wait for its answer.
local function waiting_followers(job)
  local waiting = {}
  for _, id in ipairs(redis.call("LRANGE", job.followers, 0, -1)) do
    local follower = sibling(job, id)
    if redis.call("HGET", follower.key, "state") == "queued" then table.insert(waiting, follower) end
  end
  return waiting
end

-- Ends the job and settles with its followers: they share an answer, or an error that would be theirs as well;
-- otherwise the first of them is queued, and the others follow it.
local function finish(job, state, output, usage, error)
  end_job(job, state, output, usage, error)
  local record = redis.call("HMGET", job.key, "same", "cache_s")
  local same = record[1]
  if not same then return end
  local waiting = waiting_followers(job)
  local heir = false
  for _, follower in ipairs(waiting) do
    if state == "succeeded" then
      answer(follower, output, usage)
    elseif state == "failed" and is_contagious(error) then
      end_job(follower, state, "null", "null", error)
    elseif not heir then
      heir = follower
      redis.call("HDEL", heir.key, "leader")
      take_place(heir)
      redis.call("ZADD", heir.pending, 0, heir.id)
    else
      redis.call("HSET", follower.key, "leader", heir.id)
      redis.call("RPUSH", heir.followers, follower.id)
      redis.call("EXPIRE", heir.followers, job.retention_s)
    end
  end
  redis.call("DEL", job.followers)
  if redis.call("GET", same) ~= job.id then return end
  if state == "succeeded" then
    redis.call("SET", same, job.id, "EX", record[2])
  elseif heir then
    redis.call("SET", same, heir.id, "EX", job.retention_s)
  else
    redis.call("DEL", same)
  end
end

-- The one place where a job expires: ends it when its deadline has passed by Redis's clock. Says whether it did.
local expired_error = '{"code":"deadline_exceeded","message":"The deadline passed before the job was done.","retryable":true}'
local function expire_if_due(job, state)
  if state ~= "queued" and state ~= "running" then return false end
  local deadline = redis.call("HGET", job.key, "deadline_at")
  if not deadline or now_ms() < tonumber(deadline) then return false end
  finish(job, "expired", "null", "null", expired_error)
  return true
end
