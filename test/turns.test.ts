// Deadlines, turns and what the courier does about them, through real processes.
import { defaultTenant } from "@glimpse/contracts";
import { connectRedis, createKeys, createLedger } from "@glimpse/ledger";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { createClient } from "./support/client.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

let system: System;
let client: ReturnType<typeof createClient>;
beforeAll(async () => {
  system = await startSystem({
    redisUrl: inject("redisUrl"),
    engine: "scripted",
    env: { ORPHAN_SWEEP_MS: "500" },
  });
  client = createClient(system.url);
});
afterAll(() => system.stop());

const version = "nano@1";

/** The ledger and the queue as a gateway has them that lets everything in. */
function openGateway() {
  const redis = connectRedis(inject("redisUrl"), "patient", () => {});
  const keys = createKeys(system.prefix);
  const ledger = createLedger(redis, keys, { shard: "0", retentionS: 600 });
  return {
    ledger,
    async submit(tenant: string, prompt: string, deadlineMs = 3_600_000): Promise<string> {
      const input = { messages: [{ role: "user" as const, content: prompt }], options: {} };
      const standing = { deadlineMs };
      const job = { tenant, model: "nano", version, input, metadata: {}, standing };
      return (await ledger.submit(job)).id;
    },
    close: () => redis.disconnect(),
  };
}

async function logOf(id: string): Promise<string[]> {
  const types: string[] = [];
  for await (const event of client.events(id)) types.push(event.type);
  return types;
}

const lateMs = (job: { finished_at: string | null; deadline_at: string | null }) =>
  Date.parse(job.finished_at!) - Date.parse(job.deadline_at!);

/** Waits until the job has said something. */
async function speaks(id: string): Promise<void> {
  for await (const event of client.events(id)) if (event.type === "delta") return;
}

test("a job that runs past its deadline expires, and its slot is free", async () => {
  const { id } = await client.submit({ prompt: "count 1000 every 20", deadline_ms: 700 });
  const log = await logOf(id);
  expect(log.filter((type) => type !== "delta")).toEqual(["queued", "running", "expired"]);
  const job = await client.read(id);
  expect(job).toMatchObject({ state: "expired", error: { code: "deadline_exceeded" } });
  expect(lateMs(job)).toBeGreaterThanOrEqual(0);
  expect(lateMs(job)).toBeLessThan(1_000);
  expect(await client.infer({ prompt: "count 2 every 1" })).toMatchObject({ state: "succeeded" });
});

test("a queued job expires while others run, is not run, and shows its place until then", async () => {
  const running = await client.submit({ prompt: "count 100 every 20" });
  await speaks(running.id);
  const queued = await client.submit({ prompt: "count 1 every 1", deadline_ms: 600 });
  const later = await client.submit({ prompt: "count 1 every 1", priority: "high" });
  expect((await client.read(later.id)).queue?.position).toBeGreaterThan(0);
  expect((await client.read(queued.id)).queue?.position).toBeGreaterThan(0);
  expect(await logOf(queued.id)).toEqual(["queued", "expired"]);
  expect(await client.read(running.id)).toMatchObject({ state: "running" });
  expect((await client.read(later.id)).queue?.position).toBe(1);
  expect(await client.read(later.id, 30)).toMatchObject({ state: "succeeded", queue: null });
});

test("while no courier runs nothing is lost, and the next one makes up for it", async () => {
  expect(await system.courier.kill("SIGKILL")).not.toBe(0);
  const running = await client.submit({ prompt: "count 150 every 20" });
  await speaks(running.id);
  const late = await client.submit({ prompt: "count 1 every 1", deadline_ms: 100 });
  await sleep(400);
  expect(await client.read(late.id)).toMatchObject({ state: "queued" });
  system.courier = await system.startCourier();
  expect(await logOf(late.id)).toEqual(["queued", "expired"]);
  expect(await client.read(running.id, 30)).toMatchObject({ state: "succeeded" });
});

test("two couriers do everything once, and one that is told to stop ends well", async () => {
  const second = await system.startCourier();
  const gateway = openGateway();
  const ids = await Promise.all(
    Array.from({ length: 20 }, () => gateway.submit(defaultTenant, "count 1000 every 20", 500)),
  );
  gateway.close();
  for (const id of ids) {
    const log = await logOf(id);
    expect(log.filter((type) => type === "expired")).toEqual(["expired"]);
  }
  expect(await second.kill("SIGTERM")).toBe(0);
});

test.each([600_000, -600_000])(
  "a worker whose clock is %s ms off expires what is late, and nothing else",
  async (shiftMs) => {
    expect(await system.worker.kill("SIGTERM")).toBe(0);
    system.worker = await system.startWorker({
      NODE_OPTIONS: `--import ${new URL("./support/inject.ts", import.meta.url).href}`,
      CLOCK_SHIFT_MS: String(shiftMs),
    });
    const late = await client.submit({ prompt: "count 1000 every 20", deadline_ms: 500 });
    expect((await logOf(late.id)).at(-1)).toBe("expired");
    expect(lateMs(await client.read(late.id))).toBeLessThan(1_000);
    const early = await client.submit({ prompt: "count 20 every 20", deadline_ms: 10_000 });
    expect(await client.read(early.id, 20)).toMatchObject({ state: "succeeded" });
  },
);

test("five hundred jobs of one tenant do not delay the twenty of two others", async () => {
  const { ledger, ...gateway } = openGateway();
  const ids: string[] = [];
  const tenantOf = new Map<string, string>();
  async function submit(tenant: string, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const id = await gateway.submit(tenant, "count 1 every 4");
      ids.push(id);
      tenantOf.set(id, tenant);
    }
  }
  /** Jobs that have ended, in the order in which they did. */
  async function ended(): Promise<string[]> {
    const jobs = await Promise.all(ids.map((id) => ledger.read(id, tenantOf.get(id)!)));
    return jobs
      .filter((job) => job?.state === "succeeded")
      .toSorted((a, b) => a!.finished_at!.localeCompare(b!.finished_at!))
      .map((job) => tenantOf.get(job!.id)!);
  }
  // One long job holds the only slot while the five hundred come.
  const first = await client.submit({ prompt: "count 1000 every 20" });
  await speaks(first.id);
  await submit("a", 500);
  await client.cancel(first.id);
  const isEnded = async (id: string) => (await ledger.read(id, "a"))?.state === "succeeded";
  await expect.poll(() => isEnded(ids[150]!), { timeout: 30_000 }).toBe(true);
  await submit("b", 20);
  await submit("c", 20);
  await expect
    .poll(async () => (await ended()).filter((tenant) => tenant !== "a").length, {
      timeout: 60_000,
      interval: 200,
    })
    .toBe(40);
  const order = await ended();
  const came = order.findIndex((tenant) => tenant !== "a");
  const ends = ["b", "c"].map((tenant) => order.lastIndexOf(tenant) + 1);
  console.log(
    `500 of a, after ${came} of them 20 of b and 20 of c: they end at ${ends.join(", ")}`,
  );
  const fair = came + 3 * 20;
  for (const end of ends) expect(Math.abs(end - fair)).toBeLessThanOrEqual(fair * 0.1);
  gateway.close();
}, 120_000);
