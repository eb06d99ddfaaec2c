/** What the ledger's keys hold, read without the ledger's own code, which is what is on trial. */
import { isTerminal, job, jobEvent, jobState, metadata } from "@glimpse/contracts";
import { createKeys } from "@glimpse/ledger";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { z } from "zod";
import type { Stored } from "./checker.ts";

const record = z.object({
  state: jobState,
  attempt: z.coerce.number(),
  output: z
    .string()
    .transform((json) => job.shape.output.parse(JSON.parse(json)))
    .optional(),
  metadata: z.string().transform((json) => metadata.parse(JSON.parse(json))),
});

export function openStore(url: string, prefix: string) {
  const redis = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 100 });
  redis.on("error", () => {}); // Redis is killed on purpose.
  const keys = createKeys(prefix);

  /** The job, or null when there is none. */
  async function read(id: string): Promise<Stored | null> {
    const fields = await redis.hgetall(keys.job(id));
    if (fields.state === undefined) return null;
    const {
      state,
      attempt,
      output,
      metadata: { key = null },
    } = record.parse(fields);
    const entries = await redis.xrange(keys.log(id), "-", "+");
    const log = entries.map(([, [, json = ""]]) => jobEvent.parse(JSON.parse(json)));
    return { id, key, state, attempt, text: output?.text ?? null, log };
  }

  return {
    redis,
    keys,
    read,

    /** Every job there is. */
    async readAll(): Promise<Stored[]> {
      const pattern = keys.job(`job_0_${"?".repeat(32)}`);
      const found: Stored[] = [];
      for await (const names of redis.scanStream({ match: pattern, count: 1_000 })) {
        const ids = z
          .array(z.string())
          .parse(names)
          .map((name) => name.split(":").at(-1) ?? "");
        const jobs = await Promise.all(ids.map(read));
        for (const one of jobs) if (one !== null) found.push(one);
      }
      return [...new Map(found.map((one) => [one.id, one])).values()];
    },

    /** Waits until the jobs have ended or are gone; returns how many have not within `withinMs`. */
    async untilEnded(ids: Iterable<string>, withinMs: number): Promise<number> {
      const open = new Set(ids);
      const until = Date.now() + withinMs;
      while (open.size > 0 && Date.now() < until) {
        for (const batch of batches([...open], 1_000)) {
          const states = await Promise.all(batch.map((id) => redis.hget(keys.job(id), "state")));
          batch.forEach((id, i) => {
            const state = states[i] ?? null;
            if (state === null || isTerminal(state)) open.delete(id);
          });
        }
        if (open.size > 0) await sleep(100);
      }
      return open.size;
    },

    close: () => redis.disconnect(),
  };
}

function* batches<T>(items: T[], size: number): Generator<T[]> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}
