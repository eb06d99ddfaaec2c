// Several workers under one roof: what becomes of their jobs when some of them, or all, come to an end.
import { setTimeout as sleep } from "node:timers/promises";
import type { Job } from "@glimpse/contracts";
import { afterEach, expect, inject, test } from "vitest";
import { createClient } from "./support/client.ts";
import { createRandom } from "./support/random.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

let system: System;
let client: ReturnType<typeof createClient>;
afterEach(() => system.stop());

type Pids = Map<string, number>;

/** Starts a fleet and waits until all of its workers are ready. */
async function start(workers: number, slots: number, env: Record<string, string> = {}) {
  system = await startSystem({
    redisUrl: inject("redisUrl"),
    engine: "scripted fleet",
    env: { WORKERS: `${workers}`, SLOTS: `${slots}`, ...env },
  });
  client = createClient(system.url);
  await areReady(workers);
}

async function workerIds(): Promise<string[]> {
  const ready = await fetch(`${system.url}/ready`);
  return ((await ready.json()) as { workers: { id: string }[] }).workers.map(({ id }) => id);
}
const areReady = (workers: number) =>
  expect.poll(async () => (await workerIds()).length, { timeout: 20_000 }).toBe(workers);

/** The processes of all workers there have been, by their ids. */
function pids(): Pids {
  return new Map(said("a worker starts").map(({ worker, pid }) => [String(worker), Number(pid)]));
}

async function speaks(id: string): Promise<void> {
  for await (const event of client.events(id)) if (event.type === "delta") return;
}

async function runsOf(id: string): Promise<number[]> {
  const times: number[] = [];
  for await (const event of client.events(id))
    if (event.type === "running") times.push(event.at_ms);
  return times;
}

const said = (msg: string) => system.worker.log.filter((line) => line.msg === msg);

test("what a killed worker ran, runs again within two seconds, without its locks running out", async () => {
  await start(2, 4);
  const restartMs: number[] = [];
  for (let kill = 0; kill < 5; kill++) {
    await areReady(2);
    const { id } = await client.submit({ prompt: "count 60 every 20" });
    await speaks(id);
    const line = said("job started").find(({ job }) => job === id);
    const pid = pids().get(String(line?.worker));
    if (pid === undefined) throw new Error("no such worker");
    const killedAt = Date.now();
    process.kill(pid, "SIGKILL");
    expect(await client.poll(id)).toMatchObject({ state: "succeeded", attempt: 2 });
    restartMs.push(((await runsOf(id))[1] ?? Number.NaN) - killedAt);
  }
  console.log(`killed worker -> its job runs again: ${restartMs.join(", ")} ms`);
  expect(Math.max(...restartMs)).toBeLessThan(2_000);
  expect(said("a worker lost this job; it is queued again")).toEqual([]);
}, 120_000);

test("three poison jobs among forty: no innocent fails, none is run more than three times", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`seed ${seed}`);
  const random = createRandom(seed);
  await start(1, 8);
  const poisonAt = new Set<number>();
  while (poisonAt.size < 3) poisonAt.add(random.between(0, 42));
  const jobs: Job[] = [];
  for (let i = 0; i < 43; i++) {
    const prompt = poisonAt.has(i) ? "crash SIGSEGV" : `count 10 every ${random.between(10, 40)}`;
    jobs.push(await client.submit({ prompt }));
  }
  const ends = await Promise.all(jobs.map(({ id }) => client.poll(id)));
  const [poisons, innocents] = [true, false].map((is) =>
    ends.filter((_, i) => poisonAt.has(i) === is),
  );
  expect(innocents?.map(({ state }) => state)).toEqual(Array(40).fill("succeeded"));
  for (const poison of poisons ?? []) {
    expect(poison).toMatchObject({ state: "failed", error: { code: "worker_crashed" } });
    expect(poison.attempt).toBeLessThanOrEqual(3);
  }
  const crashes = said("a worker died").length;
  console.log(
    `poison runs ${poisons?.map(({ attempt }) => attempt).join(", ")}; ${crashes} crashes`,
  );
}, 180_000);

test("a fleet asked to stop finishes what it has begun; asked twice, it hands back at once", async () => {
  await start(2, 2);
  const begun = await Promise.all(
    Array.from({ length: 4 }, () => client.submit({ prompt: "count 40 every 20" })),
  );
  await Promise.all(begun.map(({ id }) => speaks(id)));
  const stopped = system.worker.kill("SIGTERM");
  const queued = await client.submit({ prompt: "count 2 every 1" });
  expect(await stopped).toBe(0);
  for (const { id } of begun) {
    expect(await client.read(id)).toMatchObject({ state: "succeeded", attempt: 1 });
  }
  expect(await client.read(queued.id)).toMatchObject({ state: "queued", attempt: 0 });

  system.worker = await system.startWorker();
  const long = await client.submit({ prompt: "count 5000 every 20" });
  await speaks(long.id);
  const askedAt = Date.now();
  process.kill(system.worker.pid, "SIGTERM");
  await sleep(300);
  expect(await system.worker.kill("SIGTERM")).toBe(0);
  expect(Date.now() - askedAt).toBeLessThan(5_000);
  expect(await client.read(long.id)).toMatchObject({ state: "queued" });
  await client.cancel(long.id);
}, 60_000);

test("workers whose fleet is killed hand back what they run and leave", async () => {
  await start(2, 1);
  const { id } = await client.submit({ prompt: "count 5000 every 20" });
  await speaks(id);
  const children = [...pids().values()];
  await system.worker.kill("SIGKILL");
  await expect.poll(async () => (await client.read(id)).state, { timeout: 5_000 }).toBe("queued");
  const isGone = (pid: number) => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  };
  await expect.poll(() => children.every(isGone), { timeout: 10_000 }).toBe(true);
  await client.cancel(id);
}, 60_000);
