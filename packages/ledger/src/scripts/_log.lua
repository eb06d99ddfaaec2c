-- Shared by every script: the clock and the log.

-- Unix milliseconds by Redis's clock, the only clock that job times use.
local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Appends one event, publishes it as the same JSON and returns its number. `fields` is JSON text: '' or ',"name":value...'.
local function emit(job, log, channel, at, kind, fields)
  local number = redis.call("HINCRBY", job, "events", 1) - 1
  local event = string.format('{"id":%d,"type":"%s","at_ms":%.0f', number, kind, at) .. fields .. "}"
  redis.call("XADD", log, "MAXLEN", "~", 20000, number .. "-1", "event", event)
  redis.call("PUBLISH", channel, event)
  return number
end

-- Puts a running job back among the queued ones; its attempt is over.
local function requeue(job, log, channel, at)
  redis.call("HSET", job, "state", "queued")
  redis.call("HDEL", job, "started_at", "first_token_at")
  emit(job, log, channel, at, "queued", "")
end

-- A script that begins with this works in a Redis whose memory is full: what has been accepted shall come to its end. Redis
-- refuses a script at its first write that needs memory, unless a write that needs none came before it.
local function may_exceed_memory(key) redis.call("HDEL", key, "") end
