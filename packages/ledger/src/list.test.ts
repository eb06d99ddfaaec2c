import type { Metadata } from "@glimpse/contracts";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { JobFilter } from "./list.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeEach(async () => {
  open = await openTestLedger();
});
afterEach(() => open.close());

const tenant = "a";

async function submit(metadata: Metadata = {}, owner = tenant): Promise<string> {
  const input = { messages: [{ role: "user" as const, content: "What?" }], options: {} };
  const job = { tenant: owner, model: "nano", version: "nano@1", input, metadata };
  return (await open.ledger.submit(job)).id;
}

/** All pages' ids, and how many pages there were. */
async function walk(filter: Omit<JobFilter, "tenant">, limit: number) {
  const ids: string[] = [];
  let from = null;
  let pages = 0;
  do {
    const { jobs, next } = await open.ledger.list({ tenant, ...filter }, limit, from);
    expect(jobs.length).toBeLessThanOrEqual(limit);
    ids.push(...jobs.map(({ id }) => id));
    from = next;
    pages++;
  } while (from !== null);
  return { ids, pages };
}

test("a tenant's jobs come newest first, in pages, each once", async () => {
  const ids = [];
  for (let i = 0; i < 25; i++) ids.push(await submit());
  await submit({}, "other");
  const { ids: listed, pages } = await walk({}, 10);
  expect(new Set(listed)).toEqual(new Set(ids));
  expect(listed).toHaveLength(25);
  expect(pages).toBe(3);
  expect(await walk({}, 25)).toEqual({ ids: listed, pages: 1 });
  const { jobs } = await open.ledger.list({ tenant }, 25, null);
  const times = jobs.map(({ created_at }) => Date.parse(created_at));
  expect(times).toEqual(times.toSorted((a, b) => b - a));
});

test("jobs of the same millisecond are neither lost nor repeated between pages", async () => {
  const { redis, keys } = open;
  const ids = await Promise.all(Array.from({ length: 250 }, () => submit()));
  const index = keys.tenantIndex("0", tenant);
  await redis.zadd(index, ...ids.flatMap((id) => [5, id]));
  const { ids: listed } = await walk({}, 7);
  expect(listed).toHaveLength(250);
  expect(listed).toEqual(ids.toSorted().toReversed());
});

test("a page is not disturbed by jobs that come or go meanwhile", async () => {
  const ids = [];
  for (let i = 0; i < 6; i++) ids.push(await submit());
  const first = await open.ledger.list({ tenant }, 2, null);
  await submit();
  await open.ledger.cancel(first.jobs[1]!.id, tenant);
  await open.ledger.delete(first.jobs[1]!.id, tenant);
  const second = await open.ledger.list({ tenant }, 10, first.next);
  const all = [...first.jobs, ...second.jobs].map(({ id }) => id);
  expect(new Set(all)).toEqual(new Set(ids));
  expect(all).toHaveLength(6);
});

test("filters: states, metadata and time, all together", async () => {
  const { redis, keys, ledger } = open;
  const [red, blue, both] = [
    await submit({ colour: "red" }),
    await submit({ colour: "blue" }),
    await submit({ colour: "red", size: "big" }),
  ];
  for (const [i, id] of [red, blue, both].entries()) {
    await redis.zadd(keys.tenantIndex("0", tenant), 1_000 + i, id);
  }
  await ledger.cancel(blue, tenant);
  expect((await walk({ states: ["canceled"] }, 5)).ids).toEqual([blue]);
  expect((await walk({ states: ["canceled", "queued"] }, 5)).ids).toEqual([both, blue, red]);
  expect((await walk({ metadata: { colour: "red" } }, 5)).ids).toEqual([both, red]);
  expect((await walk({ metadata: { colour: "red", size: "big" } }, 1)).ids).toEqual([both]);
  expect((await walk({ metadata: { constructor: "x" } }, 5)).ids).toEqual([]);
  expect((await walk({ createdAfterMs: 1_000 }, 5)).ids).toEqual([both, blue]);
  expect((await walk({ createdBeforeMs: 1_002 }, 5)).ids).toEqual([blue, red]);
  const between = { createdAfterMs: 1_000, createdBeforeMs: 1_002 };
  expect((await walk(between, 5)).ids).toEqual([blue]);
  expect((await walk({ ...between, states: ["queued"] }, 5)).ids).toEqual([]);
});

test("a page reads a bounded part of the index, and the next one goes on", async () => {
  const { redis, keys } = open;
  const wanted = await submit({ needle: "yes" });
  const index = keys.tenantIndex("0", tenant);
  const hay = Array.from({ length: 1_200 }, (_, i) => [Date.now() + i, `gone-${i}`]);
  await redis.zadd(index, ...hay.flat());
  const first = await open.ledger.list({ tenant, metadata: { needle: "yes" } }, 5, null);
  expect(first.jobs).toEqual([]);
  expect(first.next).not.toBeNull();
  expect(await walk({ metadata: { needle: "yes" } }, 5)).toEqual({ ids: [wanted], pages: 2 });
});

test("log-probabilities are told with the job, not in the list", async () => {
  const id = await submit();
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("nextEvent" in attempt)) throw new Error("not started");
  const text = { text: "A", reasoning: null, finish_reason: "stop" as const };
  const logprobs = [{ token: "A", bytes: [65], logprob: -0.5, top_logprobs: [] }];
  await open.ledger.finish(attempt, { state: "succeeded", output: { ...text, logprobs } });
  expect((await open.ledger.read(id, tenant))?.output).toEqual({ ...text, logprobs });
  const { jobs } = await open.ledger.list({ tenant }, 5, null);
  expect(jobs[0]?.output).toEqual(text);
});
