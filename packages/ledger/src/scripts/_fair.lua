-- For the scripts that queue or start a job: whose turn it is among the jobs of one version.
-- Self-clocked fair queueing (Golestani 1994): a job's tag is where its tenant's account stands, or the clock if that is
-- further on, plus the job's cost (16 over the tenant's weight); the clock is the tag of the job that was started last.
-- Within a tenant a job goes before all of lower levels: it moves their accounts back by its cost. Those that are in the
-- queue already learn of it when they come up (`shift`), and step back then. The tenant as a whole gains nothing by it.
-- Keys: <fair>:<version>, hash: clock, base (what BullMQ's priorities count from), run_ms (how long jobs ran lately),
--       succeeded and broken (how many of those that ran did, and how many broke the engine or their worker);
--       <fair>:<version>:<tenant>, hash: for each level the last tag, and for the lower ones the shift;
--       tidy_at: when to see again to what is kept of the tenant.
local default_cost = 16
local tidy_every_s = 10

local function turns(job, version) return job.fair .. ":" .. version end

-- BullMQ's priority for a tag: the lower, the sooner; 2097151 is its last. Never 0: those always go first.
local function priority_of(tag, base)
  return math.max(1, math.min(2097151, tag - (base or 0)))
end

-- The place of a new job of this standing behind what its tenant has in the queue: its tag, its shift and its priority; and
-- whether it is time to do for the tenant what need not be done with each job.
local function next_place(job, version, tenant, level, cost, at)
  local state = turns(job, version)
  local account = state .. ":" .. (tenant or "default")
  local clock, base = unpack(call("HMGET", state, "clock", "base"))
  local known = read(account, { "high", "normal", "low", "shift_normal", "shift_low", "tidy_at" })
  local changes, tag = {}, nil
  local function change(name, value)
    changes[#changes + 1] = name
    changes[#changes + 1] = whole(value)
  end
  for _, name in ipairs({ "high", "normal", "low" }) do
    if tag or name == level then
      local last = math.max(clock or 0, known[name] or 0) + cost
      change(name, last)
      if tag then change("shift_" .. name, (known["shift_" .. name] or 0) + cost) end
      tag = tag or last
    end
  end
  local is_due = at >= tonumber(known.tidy_at or 0)
  if is_due then change("tidy_at", at + tidy_every_s * 1000) end
  call("HSET", account, unpack(changes))
  if is_due then call("EXPIRE", account, 86400) end
  return whole(tag), known["shift_" .. level] or "0", priority_of(tag, base), is_due
end

-- Puts a recorded job that is to be queued behind what its tenant has there. Returns its priority.
local function take_place(job)
  local record = read(job.key, { "version", "tenant", "priority", "cost" })
  local level, cost = record.priority or "normal", record.cost or default_cost
  local tag, shift, priority = next_place(job, record.version, record.tenant, level, cost, now_ms())
  call("HSET", job.key, "tag", tag, "shift", shift)
  return priority
end

-- The priority that a job would have in the queue were it queued now.
local function next_priority(job, version, tenant, level, cost)
  local state = turns(job, version)
  local clock, base = unpack(call("HMGET", state, "clock", "base"))
  local last = call("HGET", state .. ":" .. tenant, level or "normal")
  return priority_of(math.max(clock or 0, last or 0) + (cost or default_cost), base)
end
