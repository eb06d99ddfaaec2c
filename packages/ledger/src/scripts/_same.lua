-- Identical jobs of a tenant: one is run, and others wait for its answer.

-- Another job of the same shard: its names differ from this one's in the id at their end.
local function sibling(job, id)
  local function swap(name) return string.sub(name, 1, #name - #job.id) .. id end
  return { id = id, key = swap(job.key), log = swap(job.log), pending = job.pending, followers = swap(job.followers),
    deadlines = job.deadlines, active = job.active, fair = job.fair, outbox = job.outbox,
    channel = swap(job.channel), retention_s = job.retention_s }
end

-- Ends a queued job with the answer of an identical one; its log has the whole answer as one piece.
local function answer(job, output, usage)
  local said = output == "null" and {} or cjson.decode(output)
  local pieces = {}
  for _, piece in ipairs({ { "reasoning", said.reasoning }, { "delta", said.text } }) do
    local kind, text = piece[1], piece[2]
    if type(text) == "string" and text ~= "" then table.insert(pieces, { kind, cjson.encode(text) }) end
  end
  call("HSET", job.key, "reused", 1)
  end_job(job, read_end(job), "succeeded", output, usage, "null", pieces)
end
