-- Shared by every script: the clock, records and the log.

-- Unix milliseconds by Redis's clock, the only clock that job times use.
local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as text: Redis takes its time over a number that it is given as one.
local function whole(number) return string.format("%.0f", number) end

-- The named fields of a hash, those that are there.
local function read(key, names)
  local values = redis.call("HMGET", key, unpack(names))
  local fields = {}
  for i, name in ipairs(names) do fields[name] = values[i] or nil end
  return fields
end

-- Appends event `number` and publishes it as the same JSON. `fields` is JSON text: '' or ',"name":value...'.
-- Whoever calls this writes the record's `events`, the number of the next one.
local function emit(job, number, at, kind, fields)
  local event = '{"id":' .. number .. ',"type":"' .. kind .. '","at_ms":' .. whole(at) .. fields .. "}"
  redis.call("XADD", job.log, "MAXLEN", "~", "20000", number .. "-1", "event", event)
  redis.call("PUBLISH", job.channel, event)
end

-- Puts a running job back among the queued ones; its attempt is over. `events`: of its record.
local function requeue(job, events, at)
  redis.call("HSET", job.key, "state", "queued", "events", events + 1)
  redis.call("HDEL", job.key, "started_at", "first_token_at")
  emit(job, tonumber(events), at, "queued", "")
end

-- A script that begins with this works in a Redis whose memory is full: what has been accepted shall come to its end. Redis
-- refuses a script at its first write that needs memory, unless a write that needs none came before it.
local function may_exceed_memory(key) redis.call("HDEL", key, "") end
