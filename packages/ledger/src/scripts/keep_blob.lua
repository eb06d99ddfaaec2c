-- Notes that a picture's bytes are stored.
-- KEYS: blob
-- ARGV: the name they are stored under
-- Returns 1, or 0 when the picture was given up meanwhile.
if redis.call("HGET", KEYS[1], "name") ~= ARGV[1] then return 0 end
redis.call("HSET", KEYS[1], "kept", 1)
return 1
