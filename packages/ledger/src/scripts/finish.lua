-- Ends the running attempt with its result and the last pieces of its answer. Terminal states are final.
-- INCLUDES: _log _job _fair _end _same _settle
-- KEYS: as in _job
-- ARGV: as in _job, then attempt ('' ends the job whatever its attempt), state, output, usage, error (JSON),
--       the number that the first of the pieces has, or the terminal event at least, then for each piece its type and its
--       text (JSON string)
-- Returns 1, or 0 when the attempt is stale, the job has ended or there is no such job, or -1 when events before these are missing.
local job = this_job()
local record = read_end(job)
local attempt, state, output, usage, error, number = unpack(ARGV, 4, 9)
local is_open = record.state == "running" or attempt == "" and record.state == "queued"
if not is_open or attempt ~= "" and record.attempt ~= attempt then return 0 end
local events, pieces = tonumber(record.events), {}
number = tonumber(number)
if events < number then return -1 end
for i = 10, #ARGV, 2 do
  if number >= events then pieces[#pieces + 1] = { ARGV[i], ARGV[i + 1] } end
  number = number + 1
end
finish(job, record, state, output, usage, error, pieces)
return 1
