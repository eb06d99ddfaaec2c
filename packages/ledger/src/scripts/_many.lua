-- The end of a script that is called for many jobs at once: `once` is all that it does for one of them.
-- KEYS: those of each call, as many for each
-- ARGV: how many calls, then for each how many arguments it has, and these
-- Returns for each call {1, what it returned} or {0, its error}: one that fails takes no other with it.
local calls, replies, from = tonumber(ARGV[1]), {}, 2
local size = #KEYS / calls
for i = 1, calls do
  local keys, args, count = {}, {}, tonumber(ARGV[from])
  for j = 1, size do keys[j] = KEYS[(i - 1) * size + j] end
  for j = 1, count do args[j] = ARGV[from + j] end
  from = from + count + 1
  local is_done, reply = pcall(once, keys, args)
  if is_done then
    replies[i] = { 1, reply }
  else
    replies[i] = { 0, type(reply) == "table" and reply.err or tostring(reply) }
  end
end
return replies
