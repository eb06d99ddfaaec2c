/**
 * What an acknowledgement may mean beyond "Redis has the job": that a replica has it as well, so that it outlives the primary's
 * machine. Knows Redis only.
 */
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";

/** False: it cannot be said just now that the job, recorded before this call, is on a replica too. */
export type Confirm = (id: string) => Promise<boolean>;

type Group = { ids: string[]; confirmed: Promise<Set<string>> };

const replies = z.tuple([z.literal("OK"), z.int()], z.literal([0, 1]));

/**
 * Asks on a connection of its own, which stands still for up to `timeoutMs` while no replica answers. Those that come while one
 * question is under way are asked for together in the next.
 */
export function createConfirm(
  redis: Redis,
  keys: Keys,
  { shard, replicas, timeoutMs }: { shard: string; replicas: number; timeoutMs: number },
): Confirm {
  let next: Group | undefined;
  let last: Promise<unknown> = Promise.resolve();

  return async function confirm(id) {
    if (next === undefined) {
      const group: Group = { ids: [], confirmed: last.then(() => ask(group)) };
      next = group;
      last = group.confirmed.catch(() => {});
    }
    next.ids.push(id);
    return (await next.confirmed).has(id);
  };

  /** A write that is later than theirs has reached a replica: so have theirs, if they are still there. A new primary may lack them. */
  async function ask(group: Group): Promise<Set<string>> {
    next = undefined;
    const { ids } = group;
    const pipeline = redis.pipeline().set(keys.confirmed(shard), 1).wait(replicas, timeoutMs);
    for (const id of ids) pipeline.hexists(keys.job(id), "state");
    const answers = (await pipeline.exec()) ?? [];
    const failed = answers.find(([error]) => error !== null)?.[0];
    if (failed) throw failed;
    const [, reached, ...present] = replies.parse(answers.map(([, answer]) => answer));
    return new Set(reached < replicas ? [] : ids.filter((_, i) => present[i] === 1));
  }
}
