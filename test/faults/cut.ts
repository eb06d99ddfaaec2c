/** Redis or the way to it fails in each way there is: how long does an API's slowest answer take, and when is all well again by itself? */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createRandom } from "../support/random.ts";
import { count, createClients } from "./client.ts";
import type { Cluster } from "./cluster.ts";
import { startCluster } from "./cluster.ts";

type Cut = {
  breakIt: (cluster: Cluster) => unknown;
  mend: (cluster: Cluster) => unknown;
};

const nothing = () => {};
const allLines = (cluster: Cluster, act: (line: Cluster["members"][0]["redisLine"]) => unknown) =>
  Promise.all(cluster.members.map(({ redisLine }) => act(redisLine)));
async function configure({ redis }: Cluster, maxmemory: string): Promise<void> {
  const admin = new Redis(redis.url);
  await admin.config("SET", "maxmemory", maxmemory);
  admin.disconnect();
}

export const cuts: Record<string, Cut> = {
  "Redis is killed": {
    breakIt: ({ redis }) => redis.kill("SIGKILL"),
    mend: ({ redis }) => redis.start(),
  },
  "Redis hangs": {
    breakIt: ({ redis }) => process.kill(redis.pid(), "SIGSTOP"),
    mend: ({ redis }) => process.kill(redis.pid(), "SIGCONT"),
  },
  "Redis is full": {
    breakIt: (cluster) => configure(cluster, "1"),
    mend: (cluster) => configure(cluster, "0"),
  },
  "the lines are refused": {
    breakIt: (cluster) => allLines(cluster, (line) => line.refuse()),
    mend: (cluster) => cluster.heal(),
  },
  "the lines are reset": {
    breakIt: (cluster) => allLines(cluster, (line) => line.reset()),
    mend: nothing,
  },
  "an API's lines are silent": {
    breakIt: ({ apis }) => apis.forEach(({ redisLine }) => redisLine.silence()),
    mend: nothing,
  },
  "a worker's lines are silent": {
    breakIt: ({ workers }) => workers.forEach(({ redisLine }) => redisLine.silence()),
    mend: nothing,
  },
};

export type CutResult = {
  /** Of all calls while it is broken. */
  slowestMs: number;
  /** Statuses other than 503 with Retry-After and those of success. */
  wrong: string[];
  /** From the mending (or the break, where nobody mends) to the end of a job submitted then. */
  wellAfterMs: number;
};

/** What has not recovered by itself by then never will. */
const neverMs = 40_000;
const unknown = `/v1/jobs/job_0_${"0".repeat(32)}`;

/** Breaks it for `forMs` under a calling client, mends it, and waits for a job to go through. */
export async function cut(name: string, forMs: number): Promise<CutResult> {
  const cluster = await startCluster();
  const clients = createClients(cluster.urls, createRandom(1));
  const [url = ""] = cluster.urls;
  const { breakIt, mend } = cuts[name] ?? {};
  const calls: [string, string][] = [
    ["POST", "/v1/jobs"],
    ["GET", unknown],
    ["GET", `${unknown}/events`],
    ["POST", `${unknown}/cancel`],
    ["GET", "/v1/models"],
  ];
  const result: CutResult = { slowestMs: 0, wrong: [], wellAfterMs: 0 };
  try {
    await clients.follow(await clients.submit({ key: "before", ...count(3, 1) }));
    await breakIt?.(cluster);
    const brokenAt = performance.now();
    let wellSince = brokenAt;
    while (performance.now() - brokenAt < forMs)
      for (const [method, path] of calls) await call(method, path);
    await mend?.(cluster);
    if (mend !== nothing) wellSince = performance.now();
    await clients.follow(await clients.submit({ key: "after", ...count(3, 1) }, neverMs), neverMs);
    result.wellAfterMs = Math.round(performance.now() - wellSince);
    result.slowestMs = Math.round(result.slowestMs);
    return result;
  } catch (error) {
    result.wrong.push(`${name}: ${(error as Error).message}`);
    return { ...result, wellAfterMs: neverMs };
  } finally {
    await cluster.stop();
  }

  async function call(method: string, path: string): Promise<void> {
    const calledAt = performance.now();
    const body = JSON.stringify({ prompt: "count 1 every 1" });
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(`${url}${path}`, {
      method,
      ...(method === "POST" && { body, headers }),
      signal: AbortSignal.timeout(10_000),
    }).catch((error: unknown) => error as Error);
    result.slowestMs = Math.max(result.slowestMs, performance.now() - calledAt);
    if (response instanceof Error) {
      result.wrong.push(`${method} ${path}: ${response.message}`);
      return;
    }
    const { status } = response;
    const refusedWell = status === 503 && response.headers.has("retry-after");
    if (!refusedWell && status !== 202 && status !== 200 && status !== 404)
      result.wrong.push(`${method} ${path}: ${status}`);
    await response.body?.cancel();
    await sleep(20);
  }
}
