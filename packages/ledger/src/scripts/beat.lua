-- Notes that a worker is alive and forgets those that have been silent too long.
-- INCLUDES: _log
-- KEYS: workers
-- ARGV: id, worker (JSON), ttl_ms
local at = now_ms()
redis.call("HSET", KEYS[1], ARGV[1], string.format("%.0f ", at + ARGV[3]) .. ARGV[2])
local entries = redis.call("HGETALL", KEYS[1])
for i = 1, #entries, 2 do
  if tonumber(string.match(entries[i + 1], "^%d+")) < at then redis.call("HDEL", KEYS[1], entries[i]) end
end
