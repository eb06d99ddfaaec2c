-- Shared by every script: the clock and the log.

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
