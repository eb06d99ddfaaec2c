-- Ends the running attempt with its result and the last pieces of its answer. Terminal states are final.
-- KEYS: as in _end
-- ARGV: as in _end, then attempt ('' ends the job whatever its attempt), state, output, usage, error (JSON),
--       the number that the first of the pieces has, or the terminal event at least, then for each piece its type and its
--       text (JSON string)
-- Returns 1, or 0 when the attempt is stale, the job has ended or there is no such job, or -1 when events before these are missing.
may_exceed_memory(KEYS[1])
local job = this_job()
local record = read_end(job)
if ARGV[4] == "" then
  if record.state ~= "running" and record.state ~= "queued" then return 0 end
elseif record.state ~= "running" or record.attempt ~= ARGV[4] then
  return 0
end
local number, pieces = tonumber(ARGV[9]), {}
if tonumber(record.events) < number then return -1 end
for i = 10, #ARGV, 2 do
  if number >= tonumber(record.events) then table.insert(pieces, { ARGV[i], ARGV[i + 1] }) end
  number = number + 1
end
local state, output, usage, error = unpack(ARGV, 5, 8)
finish(job, record, state, output, usage, error, pieces)
return 1
