-- Puts a running job back among the queued ones; its attempt is over. `events`: of its record.
local function requeue(job, events)
  call("HSET", job.key, "state", "queued", "events", events + 1)
  call("HDEL", job.key, "started_at", "first_token_at")
  emit(job, events, whole(now_ms()), "queued", "")
end
