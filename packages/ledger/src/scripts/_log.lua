-- Shared by every script: the clock, the log, and the one way a job ends.

-- Unix milliseconds by Redis's clock, the only clock that job times use.
local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Appends one event and publishes it as the same JSON. `fields` is JSON text: '' or ',"name":value...'.
local function emit(job, log, channel, at, kind, fields)
  local number = redis.call("HINCRBY", job, "events", 1) - 1
  local event = string.format('{"id":%d,"type":"%s","at_ms":%.0f', number, kind, at) .. fields .. "}"
  redis.call("XADD", log, "MAXLEN", "~", 20000, number .. "-1", "event", event)
  redis.call("PUBLISH", channel, event)
end

local function since(from, to)
  if not from then return "null" end
  return string.format("%.0f", to - tonumber(from))
end

-- Writes the terminal state, its result and its event. output, usage and error are JSON text.
local function finish(job, log, channel, retention_s, state, output, usage, error)
  local at = now_ms()
  local times = redis.call("HMGET", job, "created_at", "started_at", "first_token_at", "attempt")
  local created = tonumber(times[1])
  local timings = '{"queue_ms":' .. (times[2] and since(created, times[2]) or "null")
    .. ',"first_token_ms":' .. (times[3] and since(created, times[3]) or "null")
    .. ',"total_ms":' .. since(created, at) .. "}"
  redis.call("HSET", job, "state", state, "finished_at", at,
    "output", output, "usage", usage, "error", error, "timings", timings)
  emit(job, log, channel, at, state, ',"attempt":' .. times[4] .. ',"output":' .. output
    .. ',"usage":' .. usage .. ',"timings":' .. timings .. ',"error":' .. error)
  redis.call("EXPIRE", job, retention_s)
  redis.call("EXPIRE", log, retention_s)
end
