-- Shared by the scripts that queue, start or end a job: whose turn it is among the jobs of one version.
-- Self-clocked fair queueing (Golestani 1994): a job's tag is where its tenant's account stands, or the clock if that is
-- further on, plus the job's cost (16 over the tenant's weight); the clock is the tag of the job that was started last.
-- Within a tenant a job goes before all of lower levels: it moves their accounts back by its cost. Those that are in the
-- queue already learn of it when they come up (`shift`), and step back then. The tenant as a whole gains nothing by it.
-- Keys: <fair>:<version>, hash: clock, base (what BullMQ's priorities count from), run_ms (how long jobs ran lately),
--       succeeded and broken (how many of those that ran did, and how many broke the engine or their worker);
--       <fair>:<version>:<tenant>, hash: for each level the last tag, and for the lower ones the shift.
local levels = { "high", "normal", "low" }
local default_cost = 16
local max_priority = 2097151 -- BullMQ's
local account_s = 86400

local function turns(job, version) return job.fair .. ":" .. version end

-- BullMQ's priority for a tag: the lower, the sooner. Never 0: those always go first.
local function priority_of(tag, base)
  return math.max(1, math.min(max_priority, tag - tonumber(base or 0)))
end

-- Puts a job that is to be queued behind what its tenant has there. Returns its priority.
local function take_place(job)
  local record = redis.call("HMGET", job.key, "version", "tenant", "priority", "cost")
  local level, cost = record[3] or "normal", tonumber(record[4] or default_cost)
  local state = turns(job, record[1])
  local account = state .. ":" .. (record[2] or "default")
  local clock, base = unpack(redis.call("HMGET", state, "clock", "base"))
  clock = tonumber(clock or 0)
  local lasts = redis.call("HMGET", account, unpack(levels))
  local tag, shift
  for i, name in ipairs(levels) do
    if tag or name == level then
      local last = math.max(clock, tonumber(lasts[i] or 0)) + cost
      redis.call("HSET", account, name, string.format("%.0f", last))
      if tag then redis.call("HINCRBY", account, "shift_" .. name, cost) end
      tag = tag or last
    end
  end
  redis.call("EXPIRE", account, account_s)
  shift = redis.call("HGET", account, "shift_" .. level) or 0
  redis.call("HSET", job.key, "tag", string.format("%.0f", tag), "shift", shift)
  return priority_of(tag, base)
end

-- For a job that has come up: false when it is its turn, which moves the clock; else the priority to wait with.
local function step_back(job)
  local record = redis.call("HMGET", job.key, "version", "tenant", "priority", "tag", "shift", "attempt")
  local tag = tonumber(record[4] or 0)
  local state = turns(job, record[1])
  local clock, base = unpack(redis.call("HMGET", state, "clock", "base"))
  -- One that has been started before has had its turn.
  if record[3] and record[3] ~= "high" and record[6] == "0" then
    local shift = tonumber(redis.call("HGET", state .. ":" .. (record[2] or "default"), "shift_" .. record[3]) or 0)
    local behind = shift - tonumber(record[5] or 0)
    if behind > 0 then
      redis.call("HSET", job.key, "tag", string.format("%.0f", tag + behind), "shift", string.format("%.0f", shift))
      return priority_of(tag + behind, base)
    end
  end
  if tag > tonumber(clock or 0) then redis.call("HSET", state, "clock", string.format("%.0f", tag)) end
  return false
end

-- The priority that a job would have in the queue were it queued now.
local function next_priority(job, version, tenant, level, cost)
  local state = turns(job, version)
  local clock, base = unpack(redis.call("HMGET", state, "clock", "base"))
  local last = redis.call("HGET", state .. ":" .. tenant, level or "normal")
  return priority_of(math.max(tonumber(clock or 0), tonumber(last or 0)) + (cost or default_cost), base)
end

-- Notes how a job's run ended, and how long it took if it succeeded: a moving average over about 16 of them, for the estimate
-- of how long others will wait.
local broken_codes = { engine_failure = true, worker_crashed = true }
local function note_end(job, version, state, error, ms)
  local record = turns(job, version)
  if state == "succeeded" then
    local mean = tonumber(redis.call("HGET", record, "run_ms") or ms)
    redis.call("HSET", record, "run_ms", string.format("%.3f", mean + (ms - mean) / 16))
    redis.call("HINCRBY", record, "succeeded", 1)
  elseif state == "failed" and broken_codes[cjson.decode(error).code] then
    redis.call("HINCRBY", record, "broken", 1)
  end
end
