-- INCLUDES: _log
-- KEYS: workers
-- Returns the JSON of each worker that is alive.
local at = now_ms()
local alive = {}
for _, entry in ipairs(redis.call("HVALS", KEYS[1])) do
  local expires, worker = string.match(entry, "^(%d+) (.*)$")
  if tonumber(expires) >= at then table.insert(alive, worker) end
end
return alive
