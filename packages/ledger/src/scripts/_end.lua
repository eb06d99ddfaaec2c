-- The one way a job ends.

-- What has to be known of a job to end it.
local function read_end(job)
  return read(job.key, { "state", "attempt", "events", "created_at", "started_at", "first_token_at", "deadline_at",
    "tenant", "version", "webhook", "tells", "bytes", "same", "cache_s" })
end

-- Writes the terminal state, its result and the last events: `pieces` of the answer ({kind, JSON string}) that are not in the
-- log yet, and the terminal one. output, usage and error are JSON text.
local function end_job(job, record, state, output, usage, error, pieces)
  -- A write that needs no memory is the first, so that jobs end in a Redis that is full; see _full.
  call("ZREM", job.active, active_name(record.tenant, job.id))
  if record.deadline_at then call("ZREM", job.deadlines, job.id) end
  if record.state == "queued" then call("ZREM", job.pending, job.id) end

  local now, created, number = now_ms(), record.created_at, record.events
  local at, last = whole(now), number + #pieces
  local function since_created(time) return time and whole(time - created) or "null" end
  local first = pieces[1] and not record.first_token_at and { "first_token_at", at } or {}
  local timings = '{"queue_ms":' .. since_created(record.started_at)
    .. ',"first_token_ms":' .. since_created(record.first_token_at or first[2])
    .. ',"total_ms":' .. since_created(at) .. "}"
  call("HSET", job.key, "state", state, "finished_at", at, "events", whole(last + 1),
    "output", output, "usage", usage, "error", error, "timings", timings, unpack(first))
  for i, piece in ipairs(pieces) do
    emit(job, number + i - 1, at, piece[1], ',"text":' .. piece[2])
  end
  emit(job, last, at, state, ',"attempt":' .. record.attempt .. ',"output":' .. output
    .. ',"usage":' .. usage .. ',"timings":' .. timings .. ',"error":' .. error)
  keep(job)

  local tenant = record.tenant or "default"
  if record.bytes then call("HINCRBY", weights(job), tenant, whole(-record.bytes)) end
  if is_among(wants_of(job, tenant, record.tells), state) then tell(job, state, last, tenant, record.webhook) end
  if not record.started_at then return end

  -- Of those that ran: a moving average over about 16 of how long it took, for the estimate of how long others will wait, and
  -- what the guard over versions goes by.
  local version = job.fair .. ":" .. record.version
  if state == "succeeded" then
    local ms, known = now - record.started_at, call("HMGET", version, "run_ms", "succeeded")
    local mean = known[1] or ms
    call("HSET", version, "run_ms", string.format("%.3f", mean + (ms - mean) / 16), "succeeded", whole((known[2] or 0) + 1))
  elseif state == "failed" then
    local code = cjson.decode(error).code
    if code == "engine_failure" or code == "worker_crashed" then call("HINCRBY", version, "broken", 1) end
  end
end
