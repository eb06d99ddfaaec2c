-- Notes that the worker which ran this job has crashed: its next attempt is run alone.
-- INCLUDES: _full
-- KEYS: job
-- Returns 1, or 0 when the job was not being run.
may_exceed_memory(KEYS[1])
if redis.call("HGET", KEYS[1], "state") ~= "running" then return 0 end
redis.call("HSET", KEYS[1], "suspect", 1)
return 1
