import type { KeptWebhook } from "@glimpse/contracts";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Deliveries } from "./deliveries.ts";
import { createDeliveries, deliveryIdOf, newDeliveryId } from "./deliveries.ts";
import type { Endpoints } from "./endpoints.ts";
import { createEndpoints, signing } from "./endpoints.ts";
import type { Outbox } from "./outbox.ts";
import { createAnnounce, createOutbox } from "./outbox.ts";
import type { TestLedger } from "./testing.ts";
import { openTestLedger } from "./testing.ts";

let open: TestLedger;
let deliveries: Deliveries;
let endpoints: Endpoints;
let outbox: Outbox;
beforeEach(async () => {
  open = await openTestLedger();
  deliveries = createDeliveries(open.redis, open.keys, { shard: "0", keptS: 3_600 });
  endpoints = createEndpoints(open.redis, open.keys, { shard: "0" });
  outbox = createOutbox(open.redis, open.listening, open.keys, { shard: "0" });
});
afterEach(() => open.close());

const tenant = "a";
const newJob = {
  tenant,
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: {},
};
const webhook = (...events: string[]): KeptWebhook => ({
  url: "https://example.test/",
  events,
  payload: "thin",
});
const made = (more = {}) => ({
  id: newDeliveryId("0"),
  tenant,
  type: "job.succeeded",
  endpoint: null,
  url: "https://example.test/",
  body: "{}",
  ...more,
});
const tried = {
  at: new Date(0).toISOString(),
  status: 500,
  error: "500",
  latency_ms: 1,
  answer: "",
};

/** Starts the job and appends one piece after the other. */
async function run(id: string, ...pieces: string[]): Promise<void> {
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  for (const text of pieces) await open.ledger.append(attempt, [{ type: "delta", text }]);
  await open.ledger.finish(attempt, { state: "succeeded" });
}

const entriesOf = async () => (await outbox.take(100, 10)).map(({ entry }) => entry);

test("what a job's webhook asks for is in the outbox, and nothing else", async () => {
  const asked = webhook("job.running", "job.delta", "job.succeeded");
  const all = await open.ledger.submit({ ...newJob, webhook: asked });
  const end = await open.ledger.submit({ ...newJob, webhook: webhook("job.succeeded") });
  const other = await open.ledger.submit({ ...newJob, webhook: webhook("job.failed") });
  for (const { id } of [all, end, other, await open.ledger.submit(newJob)]) await run(id, "x", "y");
  const entries = await entriesOf();
  expect(entries.map((entry) => ({ ...entry, webhook: undefined }))).toEqual([
    { job: all.id, event: 1, state: "running", tenant },
    { job: all.id, event: 4, state: "succeeded", tenant },
    { job: end.id, event: 4, state: "succeeded", tenant },
    // The second piece came too soon after the first.
    { pieces_of: all.id, from: 2, to: 2, tenant },
  ]);
  expect(entries[0]).toMatchObject({ webhook: JSON.stringify(asked) });
});

test("what a tenant's endpoints want is in the outbox for all of its jobs, and for no one else's", async () => {
  await endpoints.create(tenant, { url: "https://example.test/", events: ["job.succeeded"] });
  await run((await open.ledger.submit(newJob)).id);
  await run((await open.ledger.submit({ ...newJob, tenant: "b" })).id);
  expect(await entriesOf()).toMatchObject([{ state: "succeeded", tenant }]);
});

test("an entry is taken once, and again when whoever took it has not done it", async () => {
  const announce = createAnnounce(open.redis, open.keys, { shard: "0" });
  const notice = {
    id: "batch_1",
    tenant,
    type: "batch.completed" as const,
    data: { id: "batch_1" },
  };
  await announce(notice);
  const [taken] = await outbox.take(100, 10);
  expect(taken?.entry).toMatchObject({ notice: "batch_1", data: '{"id":"batch_1"}' });
  expect(await outbox.take(100, 10)).toEqual([]);
  expect(await outbox.retake(100, 60_000)).toEqual([]);
  expect(await outbox.retake(100, 0)).toEqual([taken]);
  await outbox.done([taken!]);
  expect([await outbox.retake(100, 0), await outbox.length()]).toEqual([[], 0]);
});

test("an entry of another release does not stop those behind it", async () => {
  await open.redis.xadd(open.keys.outbox("0"), "*", "what", "ever");
  await open.redis.xadd(open.keys.outbox("0"), "*", "delivery", newDeliveryId("0"));
  const entries = await entriesOf();
  expect(entries).toMatchObject([null, { delivery: expect.stringMatching(/^dlv_0_/) }]);
});

test("a delivery is made once, and its id follows from what it is about", async () => {
  const id = deliveryIdOf("0", ["job", "1"], "https://example.test/");
  expect(id).toBe(deliveryIdOf("0", ["job", "1"], "https://example.test/"));
  expect(id).not.toBe(deliveryIdOf("0", ["job", "2"], "https://example.test/"));
  expect(await deliveries.open(made({ id }), true)).toBe(true);
  expect(await deliveries.open(made({ id, body: "other" }), true)).toBe(false);
  expect(await deliveries.read(id)).toMatchObject({ state: "pending", tried: 0, body: "{}" });
  expect(await entriesOf()).toEqual([{ delivery: id }]);
});

test("tries are noted until the delivery is settled; a late one changes nothing but the list", async () => {
  const one = made();
  await deliveries.open(one, false);
  expect(await deliveries.overdue(-1_000, 10)).toEqual([one.id]);
  await deliveries.note(one, tried, { state: "pending", delayMs: 60_000, reason: "500" });
  expect(await deliveries.overdue(-1_000, 10)).toEqual([]);
  expect(await deliveries.show(one.id, tenant)).toMatchObject({ state: "pending", tries: [tried] });
  await deliveries.note(one, tried, { state: "dead", reason: "given_up" });
  expect(await deliveries.note(one, tried, { state: "delivered" })).toBe(false);
  const shown = await deliveries.show(one.id, tenant);
  expect(shown).toMatchObject({ state: "dead", reason: "given_up", next_try_at: null });
  expect(shown?.tries).toHaveLength(3);
  expect(await deliveries.list({ kind: "dead", name: tenant }, 10, null)).toMatchObject(
    [one].map(({ id }) => ({ id })),
  );
  expect(await deliveries.show(one.id, "b")).toBeNull();
});

test("a dead delivery is replayed under its id, once, by its tenant only", async () => {
  const one = made();
  await deliveries.open(one, false);
  expect(await deliveries.replay(one.id, tenant)).toBe("pending");
  await deliveries.note(one, tried, { state: "dead", reason: "given_up" });
  expect(await deliveries.replay(one.id, "b")).toBe("none");
  expect(await deliveries.replay(one.id, tenant)).toBe("replayed");
  expect(await deliveries.replay(one.id, tenant)).toBe("pending");
  expect(await entriesOf()).toEqual([{ delivery: one.id }]);
  expect(await deliveries.read(one.id)).toMatchObject({ state: "pending", tried: 0 });
  expect(await deliveries.list({ kind: "dead", name: tenant }, 10, null)).toEqual([]);
});

test("a list goes on behind its last entry, even when that is gone", async () => {
  const all = [made(), made(), made(), made()];
  for (const one of all) await deliveries.open(one, false);
  const of = { kind: "tenant" as const, name: tenant };
  const newest = (await deliveries.list(of, 10, null)).map(({ id }) => id);
  expect(newest.toSorted()).toEqual(all.map(({ id }) => id).toSorted());
  const page = await deliveries.list(of, 2, null);
  const rest = await deliveries.list(of, 2, page.at(-1)!);
  expect([...page, ...rest].map(({ id }) => id)).toEqual(newest);
  const gone = { createdMs: page[0]!.createdMs + 1, id: newDeliveryId("0") };
  expect(await deliveries.list(of, 4, gone)).toHaveLength(4);
});

test("a rotated secret signs beside the new one until its time", async () => {
  const made = await endpoints.create(tenant, { url: "https://example.test/" });
  const [old] = signing(made!);
  const after = await endpoints.rotate(tenant, made!.id, undefined, 60_000);
  expect(signing(after!)).toEqual([expect.not.stringMatching(`^${old}$`), old]);
  const ended = await endpoints.rotate(tenant, made!.id, undefined, 0);
  expect(signing(ended!)).toHaveLength(1);
  const own = await endpoints.ownSecrets(tenant);
  expect(await endpoints.ownSecrets(tenant)).toEqual(own);
  await endpoints.rotateOwn(tenant, undefined, 60_000);
  expect((await endpoints.ownSecrets(tenant)).at(-1)).toBe(own[0]);
});

test("an endpoint that only fails is disabled after its time, and one success gives it all of it again", async () => {
  const one = (await endpoints.create(tenant, { url: "https://example.test/" }))!;
  const read = async () => (await endpoints.read(tenant, one.id))!;
  expect(await endpoints.noteTry(tenant, await read(), false, 60_000)).toBe(false);
  const { failing_since } = await read();
  expect(failing_since).not.toBeNull();
  await endpoints.noteTry(tenant, await read(), false, 60_000);
  expect((await read()).failing_since).toBe(failing_since);
  await endpoints.noteTry(tenant, await read(), true, 60_000);
  expect((await read()).failing_since).toBeNull();
  await endpoints.noteTry(tenant, await read(), false, 60_000);
  expect(await endpoints.noteTry(tenant, await read(), false, 0)).toBe(true);
  expect(await read()).toMatchObject({ state: "disabled", disabled_reason: "failing" });
  await endpoints.change(tenant, one.id, { state: "enabled" });
  expect(await read()).toMatchObject({
    state: "enabled",
    disabled_reason: null,
    failing_since: null,
  });
});

test("changes of one endpoint by many at once are all kept", async () => {
  const one = (await endpoints.create(tenant, { url: "https://example.test/" }))!;
  const rotate = () => endpoints.rotate(tenant, one.id, undefined, 60_000);
  await Promise.all([
    endpoints.change(tenant, one.id, { description: "mine" }),
    endpoints.change(tenant, one.id, { payload: "full" }),
    rotate(),
  ]);
  const read = await endpoints.read(tenant, one.id);
  expect(read).toMatchObject({ description: "mine", payload: "full" });
  expect(read?.secrets).toHaveLength(2);
});
