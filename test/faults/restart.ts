/** A worker dies by SIGKILL at a named place of a job: how long until the job runs again, and is it still run to one end? */
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../support/random.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { openStore } from "./stored.ts";

/** Taken but not begun, in the middle, about to commit, committed but not told to the queue. */
export const places = ["before start", "after append", "before finish", "after finish"];

/** The first attempt has already ended its job there, so nothing is to be run again. */
const committed = "after finish";

export type RestartResult = {
  place: string;
  /** From the death to the next attempt's `running`, one a kill. */
  restartMs: number[];
  findings: Findings;
};

/** Kills at `place` so many times, each time in the middle of one job, and lets another process take over. */
export async function restart(place: string, times: number, seed: number): Promise<RestartResult> {
  let armed = false;
  const cluster = await startCluster({
    envOfStart(kind) {
      if (kind !== "worker" || !armed) return {};
      armed = false;
      return { KILL_AT: place };
    },
  });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const clients = createClients(cluster.urls, createRandom(seed));
  const [worker] = cluster.workers;
  if (worker === undefined) throw new Error("no worker");
  const restartMs: number[] = [];
  try {
    for (let i = 0; i < times; i++) {
      armed = true;
      const harmless = worker.running;
      await worker.kill("SIGTERM");
      await worker.successor(harmless);
      const victim = worker.running;
      const id = await clients.submit({ key: `${place} ${i}`, ...count(10, 20) });
      await victim.exited;
      const diedAt = Date.now();
      await worker.successor(victim);
      if (place === committed) await untilLeft(id);
      await store.untilEnded([id], 30_000);
      const starts = (await store.read(id))?.log.filter(({ type }) => type === "running") ?? [];
      const again = starts.find(({ at_ms }) => at_ms >= diedAt);
      if (again !== undefined) restartMs.push(again.at_ms - diedAt);
    }
    await sleep(200); // The worker's last words.
    const history = [...clients.history, ...cluster.workersWords()];
    return { place, restartMs, findings: check(history, await store.readAll()) };
  } finally {
    store.close();
    await cluster.stop();
  }

  /** Waits until the queue has noticed that nobody works on the job any more. */
  async function untilLeft(id: string): Promise<void> {
    const name = `${store.keys.queue("0")}:nano@1:active`;
    for (let i = 0; i < 150; i++) {
      if (!(await store.redis.lrange(name, 0, -1)).includes(id)) return;
      await sleep(200);
    }
    throw new Error(`${id} stays active in the queue`);
  }
}
