// Ids that clients choose, and the end of a record.
import { defaultTenant } from "@glimpse/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fingerprint } from "./fingerprint.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

const newJob = (id: string, body: unknown, tenant: string = defaultTenant) => ({
  tenant,
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: {},
  chosen: { id, fingerprint: fingerprint(body) },
});

const keyed = (key: string) => open.ledger.keyedId(defaultTenant, "POST /v1/jobs", key);
const submit = async (...job: Parameters<typeof newJob>) =>
  (await open.ledger.submit(newJob(...job))).outcome;

test("however often and however close together a request is sent, it makes one job", async () => {
  const id = keyed("a");
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => submit(id, "body")));
  expect(outcomes.filter((outcome) => outcome === "created")).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome === "existing")).toHaveLength(49);
  expect(await open.ledger.readLog(id, -1)).toHaveLength(1);
  await open.ledger.cancel(id, defaultTenant);
  expect(await submit(id, "body")).toBe("existing");
  expect(await open.ledger.read(id, defaultTenant)).toMatchObject({ state: "canceled" });
});

test("another body or another tenant does not get the job", async () => {
  const id = keyed("b");
  expect(await submit(id, "body")).toBe("created");
  expect(await submit(id, "other")).toBe("conflict");
  expect(await submit(id, "body", "other")).toBe("conflict");
  const { tenant, model, version, input, metadata } = newJob(id, "body");
  const random = await open.ledger.submit({ tenant, model, version, input, metadata });
  expect(await submit(random.id, "body")).toBe("conflict");
});

test("a step that the connection sends twice is done once, also without a chosen id", async () => {
  const { id } = newJob(keyed("twice"), "").chosen;
  const job = { ...newJob(id, ""), chosen: { id, fingerprint: "" } };
  expect((await open.ledger.submit(job)).outcome).toBe("created");
  expect((await open.ledger.submit(job)).outcome).toBe("existing");
  expect(await open.ledger.readLog(id, -1)).toHaveLength(1);
});

test("a key is its tenant's and its route's", () => {
  const { keyedId } = open.ledger;
  const ids = [
    keyedId("a", "POST /v1/jobs", "k"),
    keyedId("b", "POST /v1/jobs", "k"),
    keyedId("a", "POST /v1/infer", "k"),
    keyedId("a", "POST /v1/jobs", "l"),
  ];
  expect(new Set(ids).size).toBe(4);
  expect(keyedId("a", "POST /v1/jobs", "k")).toBe(ids[0]);
  expect(ids[0]).toMatch(/^job_0_[0-9a-f]{32}$/);
});

test("a fingerprint does not depend on the order of members, and on everything else", () => {
  const value = { a: 1, b: [{ x: "1", y: null }], c: undefined };
  expect(fingerprint({ b: [{ y: null, x: "1" }], a: 1 })).toBe(fingerprint(value));
  for (const other of [{ a: 1 }, { ...value, b: [] }, { ...value, a: "1" }, [1], "a", null])
    expect(fingerprint(other)).not.toBe(fingerprint(value));
});

test("only what is there and the same counts as submitted", async () => {
  const id = keyed("c");
  const { tenant, chosen } = newJob(id, "body");
  const isSubmitted = (other = {}) => open.ledger.isSubmitted({ tenant, ...chosen, ...other });
  expect(await isSubmitted()).toBe(false);
  await submit(id, "body");
  expect(await isSubmitted()).toBe(true);
  expect(await isSubmitted({ tenant: "other" })).toBe(false);
  expect(await isSubmitted({ fingerprint: fingerprint("other") })).toBe(false);
  await open.ledger.cancel(id, tenant);
  await open.ledger.delete(id, tenant);
  expect(await isSubmitted()).toBe(false);
});

test("a deleted job is gone, and its id stays taken for as long as a job is kept", async () => {
  const { ledger, redis, keys } = open;
  const id = keyed("d");
  await submit(id, "body");
  expect(await ledger.delete(id, defaultTenant)).toBe("not ended");
  await ledger.start(id);
  expect(await ledger.delete(id, defaultTenant)).toBe("not ended");
  await ledger.cancel(id, defaultTenant);
  expect(await ledger.delete(id, "other")).toBe("none");
  expect(await ledger.delete(id, defaultTenant)).toBe("deleted");
  expect(await ledger.read(id, defaultTenant)).toBeNull();
  expect(await ledger.readLog(id, -1)).toEqual([]);
  expect(await redis.zscore(keys.tenantIndex("0", defaultTenant), id)).toBeNull();
  expect(Object.keys(await redis.hgetall(keys.job(id)))).toEqual(["tenant", "fingerprint"]);
  expect(await redis.ttl(keys.job(id))).toBeGreaterThan(3_590);
  expect(await ledger.delete(id, defaultTenant)).toBe("none");
  expect(await ledger.cancel(id, defaultTenant)).toBe(false);
  expect(await ledger.start(id)).toBeNull();
  expect(await submit(id, "body")).toBe("deleted");
  expect(await submit(id, "other")).toBe("conflict");
});
