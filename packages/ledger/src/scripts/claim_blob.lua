-- Makes room for a picture, or finds it, and keeps it for a while from now: nobody holds it yet.
-- INCLUDES: _log
-- KEYS: blobs, blob, blob total
-- ARGV: digest, name for its bytes if it is new, bytes, budget in bytes, grace_ms
-- Returns {1, name} when its bytes are kept, {0, name} when they are to be stored under that name, {-1} when there is no room.
local record = redis.call("HMGET", KEYS[2], "name", "kept")
local name = record[1]
if not name then
  if (redis.call("GET", KEYS[3]) or 0) + ARGV[3] > tonumber(ARGV[4]) then return {-1} end
  name = ARGV[2]
  redis.call("HSET", KEYS[2], "name", name, "bytes", ARGV[3])
  redis.call("INCRBY", KEYS[3], ARGV[3])
end
redis.call("ZADD", KEYS[1], now_ms() + ARGV[5], ARGV[1])
return {record[2] and 1 or 0, name}
