// Webhooks while everything breaks, on a small scale, and the judge on histories written by hand.
import { expect, test, vi } from "vitest";
import { createRandom } from "../support/random.ts";
import { startSink } from "../support/sink.ts";
import type { Stored } from "./checker.ts";
import { count, createClients } from "./client.ts";
import { startCluster } from "./cluster.ts";
import { openStore } from "./stored.ts";
import { judge, webhookStorm } from "./webhooks.ts";

vi.setConfig({ testTimeout: 120_000 });

const seed = Date.now() % 1_000_000;
console.log(`seed ${seed}`);

test("whatever dies or is cut, every end is told of or visible as undeliverable, under one id", async () => {
  const { storm, ...found } = await webhookStorm({ jobs: 50, seed, settleMs: 30_000 });
  const wrong = { untold: found.untold, doubled: found.doubled, wrong: found.wrong };
  const context = JSON.stringify({ seed, faults: storm.faults });
  expect(wrong, context).toEqual({ untold: [], doubled: [], wrong: [] });
  expect(found.ended).toBe(50);
});

test("a courier that dies after sending and before noting sends again, under the same id", async () => {
  const sink = await startSink();
  const cluster = await startCluster({
    env: { OUTBOUND_ALLOW: "127.0.0.1", OUTBOUND_PORTS: "any" },
    envOfStart: (kind) => (kind === "courier" ? { KILL_AT: "before note_try" } : {}),
  });
  const store = openStore(cluster.redis.url, cluster.prefix);
  try {
    const courier = cluster.members.find(({ kind }) => kind === "courier");
    await courier?.layFuse();
    const clients = createClients(cluster.urls, createRandom(seed));
    const id = await clients.submit({
      key: "one",
      ...count(1, 0),
      body: { webhook: { url: `${sink.url}/` } },
    });
    const [delivery] = await vi.waitUntil(
      async () => {
        const found = await store.redis.zrange(store.keys.deliveriesOf("0", "job", id), "0", "-1");
        const state = found[0] && (await store.redis.hget(store.keys.delivery(found[0]), "state"));
        return state === "delivered" ? found : null;
      },
      { timeout: 30_000 },
    );
    expect(courier?.isFuseLaid()).toBe(false);
    const ids = sink.received.map(({ headers }) => headers["webhook-id"]);
    expect(ids).toEqual([delivery, delivery]);
  } finally {
    store.close();
    await cluster.stop();
    await sink.close();
  }
});

const job: Stored = { id: "a", key: "k", state: "succeeded", attempt: 1, text: "", log: [] };
const request = (id: string, accepted: boolean, type = "job.succeeded", event = 4) => ({
  headers: { "webhook-id": id },
  message: {
    type,
    timestamp: "2026-01-31T12:00:00.000Z",
    payload: "thin" as const,
    event,
    data: { id: "a" },
  },
  accepted,
});
const kept = (...states: string[]) =>
  new Map([["a", states.map((state, i) => ({ id: `d${i}`, state }))]]);

test("a right history has no findings", () => {
  expect(judge([job], kept("delivered"), [request("d0", false), request("d0", true)])).toEqual({
    ended: 1,
    delivered: 1,
    dead: 0,
    repeated: 1,
    untold: [],
    doubled: [],
    wrong: [],
  });
  expect(judge([job], kept("dead"), [request("d0", false)])).toMatchObject({ dead: 1, untold: [] });
});

test.each([
  ["never told", "untold", kept(), []],
  ["still pending", "untold", kept("pending"), [request("d0", false)]],
  ["two deliveries", "doubled", kept("delivered", "delivered"), [request("d0", true)]],
  ["two ids", "doubled", kept("delivered"), [request("d0", true), request("d1", true)]],
  [
    "one id for two events",
    "doubled",
    kept("delivered"),
    [request("d0", true), request("d0", true, "job.succeeded", 5)],
  ],
  ["delivered to nobody", "wrong", kept("delivered"), []],
  ["told another end", "wrong", kept("delivered"), [request("d0", true, "job.failed")]],
] as const)("%s", (_name, kind, deliveries, heard) => {
  expect(judge([job], deliveries, [...heard])[kind]).not.toEqual([]);
});
