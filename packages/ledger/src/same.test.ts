// Identical deterministic jobs: one is run, the others share its answer.
import type { Options } from "@glimpse/contracts";
import { defaultTenant, jobErrorOf } from "@glimpse/contracts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLedger } from "./ledger.ts";
import type { Attempt, Outcome } from "./ledger.ts";
import type { NewJob, Submitted } from "./submit.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeEach(async () => {
  open = await openTestLedger();
});
afterEach(() => open.close());

const newJob = (options: Options = { temperature: 0 }, tenant: string = defaultTenant) => ({
  tenant,
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user" as const, content: "What?" }], options },
  metadata: {},
});

const answer = {
  state: "succeeded" as const,
  output: { text: 'A "red" / 圆 🔴\n', reasoning: "hm\t", finish_reason: "stop" as const },
  usage: { prompt_tokens: 12, image_tokens: 4, completion_tokens: 5 },
};

async function submit(job: NewJob = newJob()): Promise<Submitted> {
  return open.ledger.submit(job);
}

/** Submits identical jobs: the first is to be run, the others have joined it. */
async function submitSame(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const { id, outcome } = await submit();
    expect(outcome).toBe(i === 0 ? "created" : "joined");
    ids.push(id);
  }
  return ids;
}

async function start(id: string): Promise<Attempt> {
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("did not start");
  return attempt;
}

async function end(id: string, outcome: Outcome): Promise<void> {
  expect(await open.ledger.finish(await start(id), outcome)).toBe(true);
}

const read = (id: string) => open.ledger.read(id, defaultTenant);
const statesOf = async (ids: string[]) =>
  Promise.all(ids.map(async (id) => (await read(id))?.state));
const logOf = (id: string) => open.ledger.readLog(id, -1);
const types = (log: { type: string }[]) => log.map(({ type }) => type);

/** The jobs that somebody has still to enqueue. */
const pending = () => open.redis.zrange(open.keys.pending("0"), "0", "-1");

test("identical jobs in flight are run once, and each has the answer in a log of its own", async () => {
  const [leader, ...followers] = await submitSame(3);
  const inQueue = (id: string) => open.queues.holds({ id, version: "nano@1" });
  expect(await Promise.all([leader!, ...followers].map(inQueue))).toEqual([true, false, false]);
  await end(leader!, answer);
  expect(await read(leader!)).toMatchObject({ reused: false, attempt: 1 });
  for (const id of followers) {
    expect(await read(id)).toMatchObject({ ...answer, reused: true, attempt: 0, error: null });
    const log = await logOf(id);
    expect(types(log)).toEqual(["queued", "reasoning", "delta", "succeeded"]);
    expect(log.map((event) => event.id)).toEqual([0, 1, 2, 3]);
    expect(log[1]).toMatchObject({ text: answer.output.reasoning });
    expect(log[2]).toMatchObject({ text: answer.output.text });
    expect(log[3]).toMatchObject({ output: answer.output, usage: answer.usage });
  }
  expect(await pending()).toEqual([]);
});

test("an identical job after the answer has it at once, for as long as the cache keeps it", async () => {
  const [first] = await submitSame(1);
  await end(first!, answer);
  const { id, outcome } = await submit();
  expect(outcome).toBe("answered");
  expect(await read(id)).toMatchObject({ ...answer, reused: true });
  expect(await pending()).toEqual([]);
  const [key] = await open.redis.keys(`${open.prefix}:*:same:*`);
  expect(await open.redis.ttl(key!)).toBeGreaterThan(290);
  await open.redis.del(key!);
  expect((await submit()).outcome).toBe("created");
});

test("what may differ is not shared: another tenant, version, question or setting, or chance", async () => {
  await submitSame(1);
  const job = newJob();
  const others = [
    newJob({ temperature: 0 }, "other"),
    { ...job, version: "nano@2" },
    { ...job, input: { ...job.input, messages: [{ role: "user" as const, content: "Who?" }] } },
    newJob({ temperature: 0, max_tokens: 9 }),
    newJob({ temperature: 0, logprobs: true }),
    newJob({ temperature: 1 }),
    newJob({}),
    newJob({ seed: 4 }),
  ];
  for (const other of others) expect((await submit(other)).outcome).toBe("created");
  expect((await submit(newJob({}))).outcome).toBe("created");
  expect((await submit(newJob({ seed: 4 }))).outcome).toBe("joined");
  expect((await submit({ ...job, metadata: { other: "metadata" } })).outcome).toBe("joined");
});

test("one that is more urgent does not wait for one that is queued, but for one that runs", async () => {
  const urgent = { ...newJob(), standing: { priority: "high" as const } };
  await submitSame(1);
  expect((await submit({ ...newJob(), standing: { priority: "low" } })).outcome).toBe("joined");
  expect((await submit(urgent)).outcome).toBe("created");
  expect((await submit()).outcome).toBe("joined");
  const other = await submit(newJob({ seed: 1 }));
  await start(other.id);
  expect((await submit({ ...urgent, input: newJob({ seed: 1 }).input })).outcome).toBe("joined");
});

test("without a cache nothing is shared", async () => {
  const settings = { shard: "0", retentionS: 60, resultCacheS: 0 };
  const ledger = createLedger(open.redis, open.keys, settings);
  for (let i = 0; i < 2; i++) expect((await ledger.submit(newJob())).outcome).toBe("created");
});

test("when the one that runs is canceled, the next one runs and the others follow it", async () => {
  const [leader, heir, follower] = await submitSame(3);
  const attempt = await start(leader!);
  expect(await open.ledger.cancel(leader!, defaultTenant)).toBe(true);
  expect(await statesOf([leader!, heir!, follower!])).toEqual(["canceled", "queued", "queued"]);
  expect(await pending()).toEqual([heir]);
  expect(await open.ledger.finish(attempt, answer)).toBe(false);
  expect((await submit()).outcome).toBe("joined");
  await end(heir!, answer);
  expect(await statesOf([heir!, follower!])).toEqual(["succeeded", "succeeded"]);
  expect(await read(heir!)).toMatchObject({ reused: false });
  expect(await read(follower!)).toMatchObject({ reused: true });
});

test("canceling one that has joined cancels no other", async () => {
  const [leader, canceled, follower] = await submitSame(3);
  await open.ledger.cancel(canceled!, defaultTenant);
  const { id: late, outcome } = await submit();
  expect(outcome).toBe("joined");
  await end(leader!, answer);
  expect(await statesOf([leader!, canceled!, follower!, late])).toEqual([
    "succeeded",
    "canceled",
    "succeeded",
    "succeeded",
  ]);
  expect(types(await logOf(canceled!))).toEqual(["queued", "canceled"]);
});

test("an error that is the question's is everybody's, and one that is ours is tried again", async () => {
  const bad = await submitSame(2);
  const error = jobErrorOf("context_too_long", "Too long.");
  await end(bad[0]!, { state: "failed", error });
  expect(await read(bad[1]!)).toMatchObject({ state: "failed", error, reused: false });
  const unlucky = await submitSame(2);
  await end(unlucky[0]!, { state: "failed", error: jobErrorOf("engine_failure", "Ours.") });
  expect(await statesOf(unlucky)).toEqual(["failed", "queued"]);
  expect(await pending()).toEqual([unlucky[1]]);
  await end(unlucky[1]!, answer);
  expect((await submit()).outcome).toBe("answered");
});

test("the last one to be canceled leaves nothing behind", async () => {
  const ids = await submitSame(2);
  for (const id of ids) await open.ledger.cancel(id, defaultTenant);
  expect(await pending()).toEqual([]);
  expect((await submit()).outcome).toBe("created");
});

test("one answer serves a bounded number of jobs; whoever comes then is run", async () => {
  const ids = await submitSame(101);
  const next = await submit();
  expect(next.outcome).toBe("created");
  expect((await submit()).outcome).toBe("joined");
  await end(ids[0]!, answer);
  expect(new Set(await statesOf(ids))).toEqual(new Set(["succeeded"]));
  expect(await read(next.id)).toMatchObject({ state: "queued" });
  await end(next.id, answer);
  expect((await submit()).outcome).toBe("answered");
});

test("a joined job that is run all the same is its own", async () => {
  const [leader, follower] = await submitSame(2);
  const own = await start(follower!);
  await end(leader!, answer);
  expect(await read(follower!)).toMatchObject({ state: "running", reused: false });
  expect(await open.ledger.finish(own, answer)).toBe(true);
});

test("an answer is not given any more once its job is deleted", async () => {
  const [first] = await submitSame(1);
  await end(first!, answer);
  expect(await open.ledger.delete(first!, defaultTenant)).toBe("deleted");
  expect((await submit()).outcome).toBe("created");
});
