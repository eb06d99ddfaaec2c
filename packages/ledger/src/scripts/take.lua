-- Takes as many jobs of a queue as are asked for, or as there are: BullMQ's own step for one, again and again.
-- INCLUDES: bullmq_take
-- KEYS: as BullMQ's step has them
-- ARGV: how many arguments the step has, then those of each call
-- Returns {how many jobs can still be taken, what the step said to each call}.
local size, replies, reply = tonumber(ARGV[1]), {}, nil
local has_more = true
for i = 2, #ARGV, size do
  if has_more then reply = bullmq_take(KEYS, { unpack(ARGV, i, i + size - 1) }) end
  has_more = has_more and reply[2] ~= 0
  replies[#replies + 1] = reply
end
local waiting = redis.call("LLEN", KEYS[1]) + redis.call("ZCARD", KEYS[3])
-- The step leaves word that there may be more, which would wake a worker for nothing.
if waiting == 0 then redis.call("ZREM", KEYS[11], "0") end
return {has_more and waiting or 0, replies}
