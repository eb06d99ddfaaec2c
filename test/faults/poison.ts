/** Jobs that bring their process down among jobs that do not: who fails, and how often is each poison run? */
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "../support/random.ts";
import type { Findings } from "./checker.ts";
import { check } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";

export type PoisonResult = {
  /** Innocent jobs that did not succeed. */
  innocentsFailed: number;
  /** How often each poison was begun. */
  runsOfPoison: number[];
  poisonEnds: string[];
  crashes: number;
  seconds: number;
  findings: Findings;
};

/** Spreads `poisons` jobs that crash by `signal` among `innocents`, on one worker of eight slots. */
export async function poison(
  { innocents, poisons }: { innocents: number; poisons: number },
  signal: "SIGSEGV" | "SIGABRT",
  seed: number,
): Promise<PoisonResult> {
  const random = createRandom(seed);
  const cluster = await startCluster({ env: { SLOTS: "8" } });
  const store = openStore(cluster.redis.url, cluster.prefix);
  const clients = createClients(cluster.urls, createRandom(seed + 1));
  const startedAt = performance.now();
  const places = new Set<number>();
  while (places.size < poisons) places.add(random.between(0, innocents + poisons - 1));
  try {
    const ids: string[] = [];
    const poisonIds: string[] = [];
    for (let i = 0; i < innocents + poisons; i++) {
      const isPoison = places.has(i);
      const order = isPoison
        ? { prompt: `crash ${signal}`, text: "", ends: ["failed" as const] }
        : count(10, random.between(20, 60));
      const id = await clients.submit({
        key: `${isPoison ? "poison" : "innocent"}-${i}`,
        ...order,
      });
      (isPoison ? poisonIds : ids).push(id);
    }
    await store.untilEnded([...ids, ...poisonIds], 180_000);
    await sleep(200); // The workers' last words.
    const stored = new Map((await store.readAll()).map((job) => [job.id, job]));
    const starts = (id: string) =>
      stored.get(id)?.log.filter(({ type }) => type === "running").length ?? 0;
    return {
      innocentsFailed: ids.filter((id) => stored.get(id)?.state !== "succeeded").length,
      runsOfPoison: poisonIds.map(starts),
      poisonEnds: poisonIds.map((id) => {
        const end = stored.get(id)?.log.at(-1);
        return end?.type === "failed" ? (end.error?.code ?? "") : (end?.type ?? "gone");
      }),
      crashes: cluster.logs().filter(({ msg }) => msg === "a worker died").length,
      seconds: Math.round((performance.now() - startedAt) / 1_000),
      findings: check([...clients.history, ...cluster.workersWords()], [...stored.values()]),
    };
  } finally {
    store.close();
    await cluster.stop();
  }
}
