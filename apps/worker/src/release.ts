/**
 * Puts jobs back to the front of the queue, no try spent: one that its holder cannot finish, and all that a dead worker held,
 * whose locks would run out only in seconds. Who held what is read from the locks themselves, so that there is no second
 * account of it that could be wrong. Leans on the names of BullMQ's keys: release.test.ts holds it to them.
 */
import type { Ledger } from "@glimpse/ledger";
import type { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";

/** The token of a lock says whose it is. */
export const lockToken = (workerId: string, n: number) => `${workerId}:${n}`;
const isTokenOf = (workerId: string, token: string) => token.startsWith(`${workerId}:`);

/** Puts one job back by its lock's token, and wakes whoever waits for jobs: of those with a priority BullMQ tells nobody. */
export async function putBack(
  id: string,
  token: string,
  { redis, queue }: { redis: Redis; queue: Queue | Worker },
): Promise<void> {
  await queue.getBackend().moveJobFromActiveToWait(id, token);
  await redis.zadd(queue.toKey("marker"), 0, "0");
}

/**
 * Puts back all that the worker held; returns the ids. `crashed`: those that it ran shared a batch with what brought it down,
 * and become suspects.
 */
export async function putBackAllOf(
  workerId: string,
  crashed: boolean,
  { redis, queue, ledger }: { redis: Redis; queue: Queue; ledger: Ledger },
): Promise<string[]> {
  const active = (await queue.getBackend().getRanges(["active"], 0, -1)).flat();
  if (active.length === 0) return [];
  const tokens = await redis.mget(active.map((id) => `${queue.toKey(id)}:lock`));
  const held = active.flatMap((id, i) => {
    const token = tokens[i];
    return typeof token === "string" && isTokenOf(workerId, token) ? [{ id, token }] : [];
  });
  // One after the other, so that they keep their order at the front.
  for (const { id, token } of held) {
    if (crashed) await ledger.suspect(id);
    await putBack(id, token, { redis, queue });
  }
  return held.map(({ id }) => id);
}
