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
  local seconds = whole(job.retention_s + math.ceil(math.max(0, left_ms or 0) / 1000))
  redis.call("EXPIRE", job.key, seconds)
  redis.call("EXPIRE", job.log, seconds)
end

-- What has to be known of a job to end it.
local fields_of_end = { "state", "attempt", "events", "created_at", "started_at", "first_token_at", "deadline_at",
  "tenant", "version", "webhook", "tells", "bytes", "same", "cache_s" }
local function read_end(job) return read(job.key, fields_of_end) end

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

-- Writes the terminal state, its result and the last events: `pieces` of the answer ({kind, JSON string}) that are not in the
-- log yet, and the terminal one. output, usage and error are JSON text.
local function end_job(job, record, state, output, usage, error, pieces)
  local at, created, number = now_ms(), tonumber(record.created_at), tonumber(record.events)
  local function since_created(time) return time and whole(time - created) or "null" end
  local first = {}
  if pieces[1] and not record.first_token_at then first = { "first_token_at", whole(at) } end
  local timings = '{"queue_ms":' .. since_created(record.started_at)
    .. ',"first_token_ms":' .. since_created(record.first_token_at or first[2])
    .. ',"total_ms":' .. since_created(at) .. "}"
  local last = number + #pieces
  redis.call("HSET", job.key, "state", state, "finished_at", whole(at), "events", last + 1,
    "output", output, "usage", usage, "error", error, "timings", timings, unpack(first))
  for i, piece in ipairs(pieces) do
    emit(job, number + i - 1, at, piece[1], ',"text":' .. piece[2])
  end
  emit(job, last, at, state, ',"attempt":' .. record.attempt .. ',"output":' .. output
    .. ',"usage":' .. usage .. ',"timings":' .. timings .. ',"error":' .. error)
  keep(job)
  if record.state == "queued" then redis.call("ZREM", job.pending, job.id) end
  if record.deadline_at then redis.call("ZREM", job.deadlines, job.id) end
  redis.call("ZREM", job.active, active_name(record.tenant, job.id))
  if record.bytes then redis.call("HINCRBY", weights(job), record.tenant, 0 - record.bytes) end
  if record.started_at then note_end(job, record.version, state, error, at - tonumber(record.started_at)) end
  local tenant = record.tenant or "default"
  if is_among(wants_of(job, tenant, record.tells), state) then tell(job, state, last, tenant, record.webhook) end
end

-- Whether an identical job would fail likewise.
local function is_contagious(error)
  return error ~= "null" and not cjson.decode(error).retryable
end

-- Ends a queued job with the answer of an identical one; its log has the whole answer as one piece.
local function answer(job, output, usage)
  local said = output == "null" and {} or cjson.decode(output)
  local pieces = {}
  for _, piece in ipairs({ { "reasoning", said.reasoning }, { "delta", said.text } }) do
    local kind, text = piece[1], piece[2]
    if type(text) == "string" and text ~= "" then table.insert(pieces, { kind, cjson.encode(text) }) end
  end
  redis.call("HSET", job.key, "reused", 1)
  end_job(job, read_end(job), "succeeded", output, usage, "null", pieces)
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
local function finish(job, record, state, output, usage, error, pieces)
  end_job(job, record, state, output, usage, error, pieces or {})
  local same = record.same
  if not same then return end
  local waiting = waiting_followers(job)
  local heir = false
  for _, follower in ipairs(waiting) do
    if state == "succeeded" then
      answer(follower, output, usage)
    elseif state == "failed" and is_contagious(error) then
      end_job(follower, read_end(follower), state, "null", "null", error, {})
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
    redis.call("SET", same, job.id, "EX", record.cache_s)
  elseif heir then
    redis.call("SET", same, heir.id, "EX", job.retention_s)
  else
    redis.call("DEL", same)
  end
end

-- The one place where a job expires: ends it when its deadline has passed by Redis's clock. Says whether it did.
-- `record`: state, deadline_at.
local expired_error = '{"code":"deadline_exceeded","message":"The deadline passed before the job was done.","retryable":true}'
local function expire_if_due(job, record)
  if record.state ~= "queued" and record.state ~= "running" then return false end
  if not record.deadline_at or now_ms() < tonumber(record.deadline_at) then return false end
  finish(job, read_end(job), "expired", "null", "null", expired_error)
  return true
end
