/** How a job gets into its version's queue: by BullMQ's own step, here or inside one of the ledger's. */
import { addPrioritizedJob } from "bullmq/dist/esm/scripts/addPrioritizedJob-9.js";

/** What BullMQ keeps of a job: nothing once it is done, since the ledger has it all. */
export const jobOptions = {
  attempts: 3,
  backoff: { type: "fixed", delay: 1_000 },
  removeOnComplete: true,
  removeOnFail: { age: 3_600, count: 1_000 },
} as const;

/**
 * BullMQ's step as a Lua function of its keys and arguments, which it is given as they are, not packed. It is the script of the
 * release that is installed, so that a job is in the queue just as `Queue.add` would have it; queue.test.ts compares the two.
 */
export const bullmqAdd = `
local function bullmq_add(KEYS, ARGV)
local cmsgpack = { unpack = function(value) return value end }
${addPrioritizedJob.content}
end`;
