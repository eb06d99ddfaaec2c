-- A script that begins with this works in a Redis whose memory is full: what has been accepted shall come to its end. Redis
-- refuses a script at its first write that needs memory, unless a write that needs none came before it.
local function may_exceed_memory(key) redis.call("HDEL", key, "") end
