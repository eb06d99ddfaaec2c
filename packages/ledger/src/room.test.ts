// What is refused because there is no room for it, and what is not because it needs none.
import { jobErrorOf } from "@glimpse/contracts";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Standing, Submitted } from "./submit.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeEach(async () => (open = await openTestLedger()));
afterEach(() => open.close());

const version = "nano@1";
const ask = (text: string, temperature: number) => ({
  messages: [{ role: "user" as const, content: text }],
  options: { temperature },
});

/** Submits a job that is unlike all others, or with `same` like those, and puts it into the queue if it belongs there. */
async function submit(
  tenant: string,
  standing: Standing = {},
  more: { same?: boolean; bytes?: number } = {},
): Promise<Submitted> {
  const input = ask("What?", more.same ? 0 : 1);
  const { bytes = 0 } = more;
  const job = { tenant, model: "nano", version, input, metadata: {}, bytes, standing };
  return open.ledger.submit(job);
}

async function start(id: string) {
  const started = await open.ledger.start(id);
  if (started === null || !("attempt" in started)) throw new Error("did not start");
  return started;
}

test("as many jobs may be before it as it says, and not one more", async () => {
  for (let i = 0; i < 3; i++) {
    expect(await submit("a", { maxAhead: 2 })).toMatchObject({ outcome: "created" });
  }
  expect(await submit("a", { maxAhead: 2 })).toMatchObject({ outcome: "overloaded", place: 3 });
  expect(await open.redis.zcard(open.keys.active("0"))).toBe(3);
});

test("a job counts whether or not it has a mark as pending", async () => {
  const { id } = await submit("a");
  await open.redis.zadd(open.keys.pending("0"), Date.now(), id);
  expect(await submit("a", { maxAhead: 0 })).toMatchObject({ outcome: "overloaded", place: 1 });
  await open.ledger.clearPending(id);
  expect(await submit("a", { maxAhead: 0 })).toMatchObject({ outcome: "overloaded", place: 1 });
});

test("another tenant's crowd does not shut out a tenant's first job", async () => {
  for (let i = 0; i < 10; i++) await submit("crowd");
  expect(await submit("crowd", { maxAhead: 5 })).toMatchObject({ outcome: "overloaded" });
  expect(await submit("first", { maxAhead: 1 })).toMatchObject({ outcome: "created" });
});

test("urgent jobs of a tenant go before its others, and are let in accordingly", async () => {
  for (let i = 0; i < 10; i++) await submit("a", { priority: "low" });
  expect(await submit("a", { priority: "low", maxAhead: 5 })).toMatchObject({ place: 10 });
  const urgent = await submit("a", { priority: "high", maxAhead: 1 });
  expect(urgent).toMatchObject({ outcome: "created" });
});

test("what need not be run needs no room: the same again, one that joins, one that is answered", async () => {
  const full = { maxAhead: -1 };
  const chosen = { id: `job_0_${"a".repeat(32)}`, fingerprint: "f" };
  const input = ask("Once?", 1);
  const job = { tenant: "a", model: "nano", version, input, metadata: {}, chosen };
  await open.ledger.submit(job);
  expect(await open.ledger.submit({ ...job, standing: full })).toMatchObject({
    outcome: "existing",
  });

  const first = await submit("a", {}, { same: true });
  expect(await submit("a", full, { same: true })).toMatchObject({ outcome: "joined" });
  const attempt = await start(first.id);
  await open.ledger.finish(attempt, { state: "succeeded" });
  expect(await submit("a", full, { same: true })).toMatchObject({ outcome: "answered" });
  expect(await submit("a", full)).toMatchObject({ outcome: "overloaded" });
});

test("a tenant's jobs that have not ended have so many bytes and no more, however they end", async () => {
  const limit = { maxActiveBytes: 100 };
  const first = await submit("a", limit, { bytes: 60 });
  expect(await submit("a", limit, { bytes: 41 })).toMatchObject({ outcome: "heavy" });
  expect(await submit("b", limit, { bytes: 41 })).toMatchObject({ outcome: "created" });
  const second = await submit("a", limit, { bytes: 40 });
  expect(second.outcome).toBe("created");

  await open.ledger.cancel(first.id, "a");
  expect(await submit("a", limit, { bytes: 61 })).toMatchObject({ outcome: "heavy" });
  await open.ledger.finish(await start(second.id), { state: "succeeded" });
  expect(await submit("a", limit, { bytes: 100 })).toMatchObject({ outcome: "created" });
});

test("bytes of jobs that got lost are given back once the tenant has no others", async () => {
  const limit = { maxActiveBytes: 100 };
  const { id } = await submit("a", limit, { bytes: 60 });
  await open.redis.del(open.keys.job(id));
  await open.upkeep.forget({ entry: `a/${id}`, id });
  expect(await submit("a", limit, { bytes: 100 })).toMatchObject({ outcome: "created" });
});

test("it is counted how runs end: what broke the engine, but not what was the job's own fault", async () => {
  const end = async (code: "engine_failure" | "context_too_long" | null) => {
    const attempt = await start((await submit("a")).id);
    const error = code === null ? {} : { error: jobErrorOf(code, "No.") };
    await open.ledger.finish(attempt, { state: code === null ? "succeeded" : "failed", ...error });
  };
  expect(await open.ledger.pace(version)).toEqual({ runMs: null, succeeded: 0, broken: 0 });
  for (const code of ["engine_failure", "context_too_long", null, "engine_failure"] as const) {
    await end(code);
  }
  const { id } = await submit("a");
  await open.ledger.cancel(id, "a");
  expect(await open.ledger.pace(version)).toMatchObject({ succeeded: 1, broken: 2 });
});
