/**
 * BullMQ's own steps, to be run inside ours: one script then does for a job what took two, with nothing in between. They are the
 * scripts of the release that is installed, so a job is in the queue just as BullMQ itself would have it; tests compare the two.
 * Only BullMQ's events are left out: nobody reads them, since whoever wants to know of a job reads its log.
 */
import { addPrioritizedJob } from "bullmq/dist/esm/scripts/addPrioritizedJob-9.js";
import { moveToActive } from "bullmq/dist/esm/scripts/moveToActive-11.js";
import { moveToFinished } from "bullmq/dist/esm/scripts/moveToFinished-14.js";

/** What BullMQ keeps of a job: nothing once it is done, since the ledger has it all. */
export const jobOptions = {
  attempts: 3,
  backoff: { type: "fixed", delay: 1_000 },
  removeOnComplete: true,
  removeOnFail: { age: 3_600, count: 1_000 },
} as const;

/** How many keys the steps have that a worker calls. */
export const keyCountsOfBullmq = {
  moveToActive: moveToActive.keys,
  moveToFinished: moveToFinished.keys,
};

/** Lua functions of keys and arguments, by the names under which scripts include them. */
export const bullmqSteps: Record<string, string> = {
  // Arguments are given as they are, not packed.
  bullmq_add: asFunction("bullmq_add", addPrioritizedJob.content, [
    "local cmsgpack = { unpack = function(value) return value end }",
  ]),
  bullmq_take: asFunction("bullmq_take", moveToActive.content),
  bullmq_finish: asFunction("bullmq_finish", moveToFinished.content),
};

function asFunction(name: string, script: string, before: string[] = []): string {
  const quiet = script.replaceAll(/\brcall\("X(?:ADD|TRIM)",[^()]*\)/g, "");
  return [`local function ${name}(KEYS, ARGV)`, ...before, quiet, "end"].join("\n");
}
