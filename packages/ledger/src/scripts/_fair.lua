-- Shared by the scripts that queue, start or end a job: whose turn it is among the jobs of one version.
-- Self-clocked fair queueing (Golestani 1994): a job's tag is where its tenant's account stands, or the clock if that is
-- further on, plus the job's cost (16 over the tenant's weight); the clock is the tag of the job that was started last.
-- Within a tenant a job goes before all of lower levels: it moves their accounts back by its cost. Those that are in the
-- queue already learn of it when they come up (`shift`), and step back then. The tenant as a whole gains nothing by it.
-- Keys: <fair>:<version>, hash: clock, base (what BullMQ's priorities count from), run_ms (how long jobs ran lately),
--       succeeded and broken (how many of those that ran did, and how many broke the engine or their worker);
--       <fair>:<version>:<tenant>, hash: for each level the last tag, and for the lower ones the shift;
--       tidy_at: when to see again to what is kept of the tenant.
local levels = { "high", "normal", "low" }
local default_cost = 16
local max_priority = 2097151 -- BullMQ's
local account_s = 86400
local tidy_every_s = 10

local function turns(job, version) return job.fair .. ":" .. version end

-- BullMQ's priority for a tag: the lower, the sooner. Never 0: those always go first.
local function priority_of(tag, base)
  return math.max(1, math.min(max_priority, tag - tonumber(base or 0)))
end

-- The place of a new job of this standing behind what its tenant has in the queue: its tag, its shift and its priority; and
-- whether it is time to do for the tenant what need not be done with each job.
local function next_place(job, version, tenant, level, cost, at)
  local state = turns(job, version)
  local account = state .. ":" .. (tenant or "default")
  local turn = redis.call("HMGET", state, "clock", "base")
  local fields = { "high", "normal", "low", "shift_normal", "shift_low", "tidy_at" }
  local known = read(account, fields)
  local clock, changes = tonumber(turn[1] or 0), {}
  local tag
  local function change(name, value)
    table.insert(changes, name)
    table.insert(changes, whole(value))
  end
  for _, name in ipairs(levels) do
    if tag or name == level then
      local last = math.max(clock, tonumber(known[name] or 0)) + cost
      change(name, last)
      if tag then change("shift_" .. name, (known["shift_" .. name] or 0) + cost) end
      tag = tag or last
    end
  end
  local is_due = at >= tonumber(known.tidy_at or 0)
  if is_due then change("tidy_at", at + tidy_every_s * 1000) end
  redis.call("HSET", account, unpack(changes))
  if is_due then redis.call("EXPIRE", account, account_s) end
  return whole(tag), known["shift_" .. level] or "0", priority_of(tag, turn[2]), is_due
end

-- Puts a recorded job that is to be queued behind what its tenant has there. Returns its priority.
local function take_place(job)
  local record = read(job.key, { "version", "tenant", "priority", "cost" })
  local level, cost = record.priority or "normal", tonumber(record.cost or default_cost)
  local tag, shift, priority = next_place(job, record.version, record.tenant, level, cost, now_ms())
  redis.call("HSET", job.key, "tag", tag, "shift", shift)
  return priority
end

-- For a job that has come up: false when it is its turn, which moves the clock; else the priority to wait with.
-- `record`: version, tenant, priority, tag, shift, attempt.
local function step_back(job, record)
  local tag = tonumber(record.tag or 0)
  local state = turns(job, record.version)
  local turn = redis.call("HMGET", state, "clock", "base")
  -- One that has been started before has had its turn.
  if record.priority and record.priority ~= "high" and record.attempt == "0" then
    local shift = redis.call("HGET", state .. ":" .. (record.tenant or "default"), "shift_" .. record.priority)
    local behind = (shift or 0) - (record.shift or 0)
    if behind > 0 then
      redis.call("HSET", job.key, "tag", whole(tag + behind), "shift", shift)
      return priority_of(tag + behind, turn[2])
    end
  end
  if tag > tonumber(turn[1] or 0) then redis.call("HSET", state, "clock", whole(tag)) end
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
