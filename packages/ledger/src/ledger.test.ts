import type { LogEvent } from "@glimpse/contracts";
import { defaultTenant } from "@glimpse/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Attempt } from "./ledger.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

const newJob = {
  tenant: defaultTenant,
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user" as const, content: "What?" }], options: {} },
  metadata: { from: "test" },
};

/** The id of a job that has been submitted and waits. */
async function submit(): Promise<string> {
  const { id, outcome } = await open.ledger.submit(newJob);
  expect(outcome).toBe("created");
  return id;
}

async function start(id: string): Promise<Attempt> {
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("did not start");
  return attempt;
}

const types = (log: LogEvent[]) => log.map((event) => event.type);
const result = {
  output: { text: "A red circle.", reasoning: null, finish_reason: "stop" as const },
  usage: { prompt_tokens: 12, image_tokens: 4, completion_tokens: 5 },
};

test("a job goes from queued to succeeded, and its log is numbered without gaps", async () => {
  const { ledger } = open;
  const id = await submit();
  expect(await ledger.read(id, defaultTenant)).toMatchObject({
    state: "queued",
    attempt: 0,
    metadata: { from: "test" },
  });
  const attempt = await start(id);
  expect(attempt.input).toEqual(newJob.input);
  expect(await ledger.append(attempt, [{ type: "reasoning", text: "hm\n" }])).toBe(true);
  const pieces = [
    { type: "delta" as const, text: 'A "red"' },
    { type: "delta" as const, text: " circle. 圆 🔴" },
  ];
  expect(await ledger.append(attempt, pieces)).toBe(true);
  expect(await ledger.finish(attempt, { state: "succeeded", ...result })).toBe(true);

  const job = await ledger.read(id, defaultTenant);
  expect(job).toMatchObject({ state: "succeeded", attempt: 1, ...result, error: null });
  const { queue_ms, first_token_ms, total_ms } = job!.timings;
  expect(queue_ms).toBeLessThanOrEqual(first_token_ms!);
  expect(first_token_ms).toBeLessThanOrEqual(total_ms!);

  const log = await ledger.readLog(id, -1);
  expect(types(log)).toEqual(["queued", "running", "reasoning", "delta", "delta", "succeeded"]);
  expect(log.map((event) => event.id)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(log[4]).toMatchObject({ text: " circle. 圆 🔴" });
  expect(log.at(-1)).toMatchObject({ ...result, timings: job!.timings, error: null });
  expect(types(await ledger.readLog(id, 3))).toEqual(["delta", "succeeded"]);
});

test("subscribers get each event itself", async () => {
  const { ledger, keys, subscriber } = open;
  const id = await submit();
  const heard: string[] = [];
  const stop = await subscriber.subscribe(keys.channel(id), (message) =>
    heard.push(message ?? "missed"),
  );
  const attempt = await start(id);
  await ledger.append(attempt, [{ type: "delta", text: "a" }]);
  await ledger.finish(attempt, { state: "succeeded", ...result });
  await expect.poll(() => heard.length).toBe(3);
  expect(heard.map((message) => JSON.parse(message))).toEqual(await ledger.readLog(id, 0));
  stop();
});

test("a new attempt resets the log and makes the old one's writes stale", async () => {
  const { ledger } = open;
  const id = await submit();
  const old = await start(id);
  await ledger.append(old, [{ type: "delta", text: "half an ans" }]);
  const current = await start(id);
  expect(current.attempt).toBe(2);
  expect(await ledger.append(old, [{ type: "delta", text: "wer" }])).toBe(false);
  expect(await ledger.finish(old, { state: "succeeded", ...result })).toBe(false);
  expect(await ledger.release(old)).toBe(false);
  expect(await ledger.append(current, [{ type: "delta", text: "whole" }])).toBe(true);
  expect(await ledger.finish(current, { state: "succeeded", ...result })).toBe(true);
  const expected = ["queued", "running", "delta", "reset", "running", "delta", "succeeded"];
  expect(types(await ledger.readLog(id, -1))).toEqual(expected);
});

test("an append whose reply was lost can be sent again", async () => {
  const { ledger } = open;
  const id = await submit();
  const attempt = await start(id);
  const lost = { ...attempt };
  await ledger.append(lost, [{ type: "delta", text: "once" }]);
  expect(await ledger.append(attempt, [{ type: "delta", text: "once" }])).toBe(true);
  expect(attempt.nextEvent).toBe(lost.nextEvent);
  expect(types(await ledger.readLog(id, -1))).toEqual(["queued", "running", "delta"]);
});

test("terminal states are final", async () => {
  const { ledger } = open;
  const id = await submit();
  const attempt = await start(id);
  expect(await ledger.cancel(id, defaultTenant)).toBe(true);
  expect(await ledger.append(attempt, [{ type: "delta", text: "late" }])).toBe(false);
  expect(await ledger.finish(attempt, { state: "succeeded", ...result })).toBe(false);
  expect(await ledger.fail(id, { code: "worker_crashed", message: "", retryable: false })).toBe(
    false,
  );
  expect(await ledger.start(id)).toEqual({ ended: "canceled" });
  expect(await ledger.cancel(id, defaultTenant)).toBe(true);
  expect(types(await ledger.readLog(id, -1))).toEqual(["queued", "running", "canceled"]);
  expect(await ledger.read(id, defaultTenant)).toMatchObject({
    state: "canceled",
    output: null,
    error: null,
  });
});

test("canceling a running job tells its worker, and a queued one is over at once", async () => {
  const { ledger, keys, subscriber } = open;
  const [running, queued] = [await submit(), await submit()];
  await start(running);
  const heard: (string | null)[] = [];
  const stop = await subscriber.subscribe(keys.control("0"), (message) => heard.push(message));
  await ledger.cancel(running, defaultTenant);
  await expect.poll(() => heard).toEqual([`cancel ${running}`]);
  stop();
  await ledger.cancel(queued, defaultTenant);
  expect(types(await ledger.readLog(queued, -1))).toEqual(["queued", "canceled"]);
  const unknown = `job_0_${"0".repeat(32)}`;
  expect(await ledger.cancel(unknown, defaultTenant)).toBe(false);
  expect(await ledger.read(unknown, defaultTenant)).toBeNull();
  expect(await ledger.start(unknown)).toBeNull();
});

test("another tenant's job is like none", async () => {
  const { ledger } = open;
  const id = await submit();
  expect(await ledger.read(id, "other")).toBeNull();
  expect(await ledger.cancel(id, "other")).toBe(false);
  expect(await ledger.delete(id, "other")).toBe("none");
  expect(await ledger.read(id, defaultTenant)).toMatchObject({ state: "queued" });
});

test("a released job is queued again and its next attempt resets", async () => {
  const { ledger } = open;
  const id = await submit();
  const attempt = await start(id);
  expect(await ledger.release(attempt)).toBe(true);
  expect(await ledger.read(id, defaultTenant)).toMatchObject({ state: "queued", started_at: null });
  expect(await ledger.append(attempt, [{ type: "delta", text: "late" }])).toBe(false);
  await start(id);
  expect(types(await ledger.readLog(id, -1))).toEqual([
    "queued",
    "running",
    "queued",
    "reset",
    "running",
  ]);
});

test("a job that no attempt can fail is failed all the same", async () => {
  const { ledger } = open;
  const id = await submit();
  await start(id);
  const error = { code: "worker_crashed", message: "It crashed.", retryable: false };
  expect(await ledger.fail(id, error)).toBe(true);
  expect(await ledger.read(id, defaultTenant)).toMatchObject({ state: "failed", error });
});

test("workers are listed while they beat", async () => {
  const { ledger } = open;
  const delay = { p50: 0, p99: 1, max: 2 };
  const worker = {
    model: "nano",
    version: "nano@1",
    slots: 1,
    running: 0,
    event_loop_delay_ms: delay,
  };
  await ledger.beat({ ...worker, id: "a" }, 30);
  await ledger.beat({ ...worker, id: "b" }, 60_000);
  await expect.poll(async () => (await ledger.workers()).map(({ id }) => id)).toEqual(["b"]);
  await ledger.retire("b");
  expect(await ledger.workers()).toEqual([]);
});
