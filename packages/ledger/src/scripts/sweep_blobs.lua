-- Looks at the pictures whose time has come; those that no job's record holds go to the trash, from where their bytes are removed.
-- INCLUDES: _log
-- KEYS: blobs, blob total, blob trash. The keys below the two prefixes, and holders' keys, have the same hash tag.
-- ARGV: prefix of blobs' records, prefix of blobs' holders, how many to look at, look_every_ms
-- Returns how many it looked at.
local at = now_ms()
local due = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", at, "LIMIT", 0, ARGV[3])
for _, digest in ipairs(due) do
  local holders = ARGV[2] .. digest
  local oldest = redis.call("LINDEX", holders, 0)
  local gone = 0
  -- A deleted job leaves a record without a state. Bounded: of a picture that a million jobs held, the rest is looked at next time.
  while oldest and gone < 1000 and redis.call("HEXISTS", oldest, "state") == 0 do
    redis.call("LPOP", holders)
    gone = gone + 1
    oldest = redis.call("LINDEX", holders, 0)
  end
  if oldest then
    redis.call("ZADD", KEYS[1], gone == 1000 and at + 1 or at + ARGV[4], digest)
  else
    local record = redis.call("HMGET", ARGV[1] .. digest, "name", "bytes")
    redis.call("ZREM", KEYS[1], digest)
    redis.call("DEL", ARGV[1] .. digest)
    if record[1] then
      redis.call("DECRBY", KEYS[2], record[2])
      redis.call("SADD", KEYS[3], record[1])
    end
  end
end
return #due
