-- Changes a hash's field if it still is what it was.
-- KEYS: hash
-- ARGV: field, what it was ('' for nothing), what it is to be ('' to remove it)
-- Returns 1, or 0 when it was something else.
if (redis.call("HGET", KEYS[1], ARGV[1]) or "") ~= ARGV[2] then return 0 end
if ARGV[3] == "" then
  redis.call("HDEL", KEYS[1], ARGV[1])
else
  redis.call("HSET", KEYS[1], ARGV[1], ARGV[3])
end
return 1
