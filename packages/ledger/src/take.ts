/** Taking jobs from a version's queue, as many as are wanted in one step. Knows BullMQ's step for one. */
import type { Redis } from "ioredis";
import { z } from "zod";
import { keyCountsOfBullmq } from "./bullmq-steps.ts";
import type { Argument } from "./scripts.ts";
import { loadScripts } from "./scripts.ts";

export type Take = ReturnType<typeof createTake>;

const taken = z.tuple([z.int(), z.array(z.unknown())]);

/** The returned function makes calls of BullMQ's `moveToActive`, all for one queue. Says what it said to each, and how many jobs can be taken then. */
export function createTake(redis: Redis) {
  const run = loadScripts(redis);
  return async function take(
    calls: Argument[][],
  ): Promise<{ replies: unknown[]; waiting: number }> {
    const keyCount = keyCountsOfBullmq.moveToActive;
    const keys = calls[0]?.slice(0, keyCount).map(String) ?? [];
    const args = calls.map((call) => call.slice(keyCount));
    const [waiting, replies] = taken.parse(
      await run("take", keys, [args[0]?.length ?? 0, ...args.flat()]),
    );
    return { replies, waiting };
  };
}
