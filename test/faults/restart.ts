/** A worker dies by SIGKILL at a named place of a job: how long until the job runs again, and is it still run to one end? */
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../support/random.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";

/** Taken but not begun, in the middle, about to commit, committed: then nothing is left to run again, and it must not be. */
export const places = ["before start", "after append", "before finish", "after finish"];

/** Who sees it die: the fleet of two that it is of; or nobody, and its lease has to run out, as when a whole machine dies. */
export type Watched = "fleet" | "worker";

export type RestartResult = {
  place: string;
  /** From the death to the next attempt's `running`, for each kill that left something to run again. */
  restartMs: number[];
  findings: Findings;
};

/** Kills at `place` so many times, each time in the middle of one job, and lets another process take over. */
export async function restart(
  place: string,
  workerKind: Watched,
  times: number,
  seed: number,
): Promise<RestartResult> {
  const env = { KILL_AT: place, WORKERS: "2" };
  const cluster = await startCluster({ workerKind, env });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const clients = createClients(cluster.urls, createRandom(seed));
  const [worker] = cluster.workers;
  if (worker === undefined) throw new Error("no worker");
  const restartMs: number[] = [];
  try {
    for (let i = 0; i < times; i++) {
      await worker.layFuse();
      const id = await clients.submit({ key: `${place.replace(" ", "-")}-${i}`, ...count(10, 20) });
      while (worker.isFuseLaid()) await sleep(2);
      const diedAt = Date.now();
      await store.untilEnded([id], 30_000);
      await untilLeft(id);
      const log = (await store.read(id))?.log ?? [];
      const again = log.find(({ type, at_ms }) => type === "running" && at_ms >= diedAt);
      if (again !== undefined) restartMs.push(again.at_ms - diedAt);
    }
    await sleep(200); // The worker's last words.
    const history = [...clients.history, ...cluster.workersWords()];
    return { place, restartMs, findings: check(history, await store.readAll()) };
  } finally {
    store.close();
    await cluster.stop();
  }

  /** Waits until the queue knows that nobody works on the job any more. */
  async function untilLeft(id: string): Promise<void> {
    const active = `${store.keys.queue("0")}:nano@1:active`;
    for (let i = 0; i < 300; i++) {
      if (!(await store.redis.lrange(active, 0, -1)).includes(id)) return;
      await sleep(50);
    }
    throw new Error(`${id} stays active in the queue`);
  }
}
