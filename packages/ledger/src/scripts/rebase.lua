-- Counts BullMQ's priorities from the clock again when they have come half way to BullMQ's limit.
-- KEYS: fairness of a version
-- ARGV: how far the clock may be from the base
-- Returns {base, 1 when jobs in the queue may have priorities from an earlier base, else 0}.
local state = redis.call("HMGET", KEYS[1], "clock", "base", "settled")
local clock, base = tonumber(state[1] or 0), tonumber(state[2] or 0)
if clock - base > tonumber(ARGV[1]) then
  base = clock
  redis.call("HSET", KEYS[1], "base", string.format("%.0f", base))
end
return { string.format("%.0f", base), tonumber(state[3] or 0) == base and 0 or 1 }
