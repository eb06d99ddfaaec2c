/** Clients whose answer is lost on its way submit again with the same key: there is one job of each key. */
import { createRandom } from "../support/random.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";

export type RetryResult = { keys: number; jobs: number; repliesLost: number; findings: Findings };

/** Submits `keys` jobs through two APIs, which carry out every request and lose the answer of each key's first one. */
export async function retry(keys: number, seed: number): Promise<RetryResult> {
  const cluster = await startCluster({ apis: 2, env: { SLOTS: "16" } });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const clients = createClients(cluster.urls, createRandom(seed));
  const seen = new Set<string>();
  let repliesLost = 0;
  const isFirst = (request: string) => {
    const key = /^idempotency-key: (.+)$/im.exec(request)?.[1];
    if (key === undefined || seen.has(key)) return false;
    seen.add(key);
    repliesLost++;
    return true;
  };
  for (const { door } of cluster.apis) door?.loseReplies(isFirst);
  try {
    let next = 0;
    async function client(): Promise<void> {
      while (next < keys) {
        const key = `retry-${seed}-${next++}`;
        await clients.submit({ key, ...count(1, 1) });
      }
    }
    await Promise.all(Array.from({ length: 16 }, client));
    const jobs = await store.readAll();
    await store.untilEnded(
      jobs.map(({ id }) => id),
      30_000,
    );
    const stored = await store.readAll();
    const findings = check([...clients.history, ...cluster.workersWords()], stored);
    return { keys, jobs: stored.length, repliesLost, findings };
  } finally {
    store.close();
    await cluster.stop();
  }
}
