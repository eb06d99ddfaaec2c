-- For every script: the clock, records and the log. Functions are made anew at each call of a script, which costs about as
-- much as a small command: each script includes only what it uses.
local call = redis.call

-- Unix milliseconds by Redis's clock, the only clock that job times use.
local function now_ms()
  local time = call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as text: Redis takes its time over a number that it is given as one.
local function whole(number) return string.format("%d", number) end

-- The named fields of a hash, those that are there.
local function read(key, names)
  local values = call("HMGET", key, unpack(names))
  local fields = {}
  for i, name in ipairs(names) do fields[name] = values[i] or nil end
  return fields
end

-- Appends event `number` to the log, and returns it. `fields` is JSON text: '' or ',"name":value...'.
-- Whoever calls this writes the record's `events`, the number of the next one. Pieces are trimmed by `append`.
local function log_event(job, number, at, kind, fields)
  local event = '{"id":' .. number .. ',"type":"' .. kind .. '","at_ms":' .. at .. fields .. "}"
  call("XADD", job.log, number .. "-1", "event", event)
  return event
end

-- The same, and publishes it as the same JSON.
local function emit(job, number, at, kind, fields)
  call("PUBLISH", job.channel, log_event(job, number, at, kind, fields))
end
