-- For the script that queues a job, after BullMQ's own step for that.

-- Adds the job to the queue at `queue`, the first part of its keys' names. `data` and `options` (JSON) are what BullMQ keeps of it.
local function enqueue(job, queue, data, options, priority, at)
  local keys = { "marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc" }
  for i, name in ipairs(keys) do keys[i] = queue .. name end
  options = cjson.decode(options)
  options.jobId, options.priority = job.id, priority
  bullmq_add(keys, { { queue, job.id, "job", at }, data, options })
end
