-- For the scripts that can end a job that others have joined.

-- What becomes of the jobs that joined this one and still wait for its answer: they share an answer, or an error that would be
-- theirs as well; otherwise the first of them is queued, and the others follow it.
local function settle(job, record, state, output, usage, error)
  local is_contagious = state == "failed" and error ~= "null" and not cjson.decode(error).retryable
  local heir = false
  for _, id in ipairs(call("LRANGE", job.followers, 0, -1)) do
    local follower = sibling(job, id)
    if call("HGET", follower.key, "state") ~= "queued" then
      -- It has ended by itself.
    elseif state == "succeeded" then
      answer(follower, output, usage)
    elseif is_contagious then
      end_job(follower, read_end(follower), state, "null", "null", error, {})
    elseif not heir then
      heir = follower
      call("HDEL", heir.key, "leader")
      take_place(heir)
      call("ZADD", heir.pending, 0, heir.id)
    else
      call("HSET", follower.key, "leader", heir.id)
      call("RPUSH", heir.followers, follower.id)
      call("EXPIRE", heir.followers, job.retention_s)
    end
  end
  call("DEL", job.followers)
  if call("GET", record.same) ~= job.id then return end
  if state == "succeeded" then
    call("SET", record.same, job.id, "EX", record.cache_s)
  elseif heir then
    call("SET", record.same, heir.id, "EX", job.retention_s)
  else
    call("DEL", record.same)
  end
end

-- Ends the job and settles with its followers.
local function finish(job, record, state, output, usage, error, pieces)
  end_job(job, record, state, output, usage, error, pieces or {})
  if record.same then settle(job, record, state, output, usage, error) end
end
