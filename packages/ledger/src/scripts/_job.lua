-- For the scripts that change a job's state. They all begin with the same names, which `this_job` reads:
--   KEYS: job, log, pending, followers, deadlines, active, fair, outbox
--   ARGV: id, channel, retention_s
local function this_job(KEYS, ARGV)
  return { id = ARGV[1], key = KEYS[1], log = KEYS[2], pending = KEYS[3], followers = KEYS[4], deadlines = KEYS[5],
    active = KEYS[6], fair = KEYS[7], outbox = KEYS[8], channel = ARGV[2], retention_s = ARGV[3] }
end

-- The job's name among those that have not ended.
local function active_name(tenant, id) return (tenant or "default") .. "/" .. id end

-- Hash: how many bytes each tenant's jobs have that have not ended.
local function weights(job) return job.active .. ":bytes" end

-- Keeps record and log for as long as an ended job is kept; one that has not ended, for as long as it has left in addition.
local function keep(job, left_ms)
  local seconds = job.retention_s
  if left_ms and left_ms > 0 then seconds = whole(seconds + math.ceil(left_ms / 1000)) end
  call("EXPIRE", job.key, seconds)
  call("EXPIRE", job.log, seconds)
end

-- What somebody wants to hear of: the job's own webhook (`tells`), or an endpoint of its tenant.
local function wants_of(job, tenant, tells)
  local wants = call("HGET", job.outbox .. "-wants", tenant) or ""
  return tells and tells .. " " .. wants or wants
end
local function is_among(wants, kind) return wants ~= "" and string.find(wants, "job." .. kind, 1, true) ~= nil end

-- Leaves word in the outbox that the job has got so far.
local function tell(job, kind, event, tenant, webhook)
  call("XADD", job.outbox, "*", "job", job.id, "event", event, "state", kind, "tenant", tenant,
    unpack(webhook and { "webhook", webhook } or {}))
end
