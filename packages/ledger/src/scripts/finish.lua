-- Ends the running attempt with its result and the last pieces of its answer. Terminal states are final. Then has its worker be
-- done with it in the queue, by BullMQ's own step, whether or not the end was still the attempt's to write.
-- INCLUDES: _log _job _fair _end _same _settle bullmq_finish
-- KEYS: as in _job
-- ARGV: as in _job, then attempt ('' ends the job whatever its attempt), state, output, usage, error (JSON),
--       the number that the first of the pieces has, or the terminal event at least, how many keys BullMQ's step has and how many
--       arguments (0: the job stays where it is in the queue), then these, then for each piece its type and its text (JSON string)
-- Returns {1}, or {0} when the attempt is stale, the job has ended or there is no such job, each with what BullMQ's step said;
-- or {-1} when events before these are missing.
local attempt, state, output, usage, error, first, key_count, arg_count = unpack(ARGV, 4, 11)
local args_from = 12 + key_count
local pieces_from = args_from + arg_count

local function end_attempt()
  local job = this_job(KEYS, ARGV)
  local record = read_end(job)
  local is_open = record.state == "running" or attempt == "" and record.state == "queued"
  if not is_open or attempt ~= "" and record.attempt ~= attempt then return 0 end
  local events, number, pieces = tonumber(record.events), tonumber(first), {}
  if events < number then return -1 end
  for i = pieces_from, #ARGV, 2 do
    if number >= events then pieces[#pieces + 1] = { ARGV[i], ARGV[i + 1] } end
    number = number + 1
  end
  finish(job, record, state, output, usage, error, pieces)
  return 1
end

local ended = end_attempt()
if ended < 0 or arg_count == "0" then return {ended} end
return {ended, bullmq_finish({ unpack(ARGV, 12, args_from - 1) }, { unpack(ARGV, args_from, pieces_from - 1) })}
