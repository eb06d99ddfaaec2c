import { defaultTenant } from "@glimpse/contracts";
import type { Attempt } from "@glimpse/ledger";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { follow, isGap, isIdle } from "./follow.ts";
import { openTestApp } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp();
});
afterAll(() => open.close());

const never = new AbortController().signal;
const outcome = { state: "succeeded" as const };

async function start(): Promise<Attempt> {
  const input = { messages: [{ role: "user" as const, content: "What?" }], options: {} };
  const job = { tenant: defaultTenant, model: "nano", version: "nano@1", input, metadata: {} };
  const { id } = await open.ledger.submit(job);
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  return attempt;
}

async function speak(attempt: Attempt, words: number): Promise<void> {
  for (let i = 0; i < words; i++) await open.ledger.append(attempt, [{ type: "delta", text: "x" }]);
}

/** The numbers of all events after `after`; `pauseMs` after each makes a slow reader. Idle so late that it mends nothing. */
async function numbers(
  id: string,
  after: number,
  { pauseMs = 0, idleMs = 60_000 } = {},
): Promise<number[]> {
  const seen: number[] = [];
  for await (const events of follow(open, id, after, never, idleMs)) {
    for (const event of events) {
      if (isGap(event)) throw new Error("gap");
      if (!isIdle(event)) seen.push(event.id);
    }
    if (pauseMs > 0) await sleep(pauseMs);
  }
  return seen;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test("whenever a reader begins, it gets each event once and in order", async () => {
  const attempt = await start();
  const readers: Promise<number[]>[] = [];
  const from: number[] = [];
  for (let i = 0; i < 40; i++) {
    const after = ((i * 7) % (attempt.nextEvent + 1)) - 1;
    from.push(after + 1);
    readers.push(numbers(attempt.id, after));
    await speak(attempt, 5);
  }
  await open.ledger.finish(attempt, outcome);
  const seen = await Promise.all(readers);
  expect(seen).toEqual(from.map((first) => range(first, attempt.nextEvent + 1)));
});

test("a reader that is too slow for its inbox gets the rest from the log", async () => {
  const attempt = await start();
  const reader = numbers(attempt.id, -1, { pauseMs: 1 });
  await sleep(20);
  await speak(attempt, 1_500);
  await open.ledger.finish(attempt, outcome);
  expect(await reader).toEqual(range(0, attempt.nextEvent + 1));
});

test("a lost subscription loses no event", async () => {
  const attempt = await start();
  const reader = numbers(attempt.id, -1);
  for (let i = 0; i < 5; i++) {
    await speak(attempt, 20);
    open.cutSubscriber();
  }
  // The end comes while nobody listens.
  await open.ledger.finish(attempt, outcome);
  expect(await reader).toEqual(range(0, attempt.nextEvent + 1));
});

test("an announcement that was lost is made up for by the next, or after a while", async () => {
  const attempt = await start();
  const reader = numbers(attempt.id, -1);
  const later = numbers(attempt.id, -1, { idleMs: 300 });
  await sleep(100);
  await open.appendRaw(attempt.id, { id: 2, type: "delta", at_ms: 1, text: "x" }, "unannounced");
  await open.appendRaw(attempt.id, { id: 3, type: "delta", at_ms: 1, text: "y" });
  await open.appendRaw(attempt.id, { id: 4, type: "succeeded", at_ms: 1 }, "unannounced");
  expect(await later).toEqual([0, 1, 2, 3, 4]);
  await open.appendRaw(attempt.id, { id: 5, type: "succeeded", at_ms: 1 });
  expect(await reader).toEqual([0, 1, 2, 3, 4]);
});

test("events that the log no longer has are told of as a gap", async () => {
  const attempt = await start();
  await speak(attempt, 10);
  await open.dropLog(attempt.id, 5);
  await open.ledger.finish(attempt, outcome);
  const seen: unknown[] = [];
  for await (const events of follow(open, attempt.id, 1, never))
    seen.push(...events.map((event) => (isGap(event) ? event : event.type)));
  expect(seen.slice(0, 2)).toEqual([{ type: "gap", from: 2, to: 4 }, "delta"]);
  expect(seen.at(-1)).toBe("succeeded");
});

test("a reader that claims events that never were is not kept waiting after the end", async () => {
  const attempt = await start();
  const reader = numbers(attempt.id, 1_000_000);
  await speak(attempt, 3);
  await open.ledger.finish(attempt, outcome);
  expect(await reader).toEqual([]);
});

test("it ends when its reader is gone, and says so when nothing happens", async () => {
  const attempt = await start();
  const gone = new AbortController();
  const types: string[] = [];
  for await (const events of follow(open, attempt.id, -1, gone.signal, 20)) {
    types.push(...events.map(({ type }) => type));
    if (types.length === 4) gone.abort();
  }
  expect(types).toEqual(["queued", "running", "idle", "idle"]);
});

test("a later release's events and fields are handed on as they are", async () => {
  const attempt = await start();
  const reader = (async () => {
    const seen: unknown[] = [];
    for await (const events of follow(open, attempt.id, 1, never)) seen.push(...events);
    return seen;
  })();
  const event = { id: 2, type: "tool_call", at_ms: 1, tool: { name: "crop" } };
  const end = { id: 3, type: "succeeded", at_ms: 2, attempt: 1, price: 7 };
  await open.appendRaw(attempt.id, event);
  await open.appendRaw(attempt.id, end);
  expect(await reader).toEqual([event, end]);
});

test("a job that vanishes ends its readers", async () => {
  const attempt = await start();
  const reader = numbers(attempt.id, -1, { idleMs: 200 });
  await sleep(50);
  await open.dropJob(attempt.id);
  expect(await reader).toEqual([0, 1]);
});

test("a log of thousands of events comes in portions, each event once", async () => {
  const attempt = await start();
  for (let i = 0; i < 25; i++) {
    await open.ledger.append(
      attempt,
      Array.from({ length: 100 }, () => ({ type: "delta" as const, text: "x" })),
    );
  }
  await open.ledger.finish(attempt, outcome);
  expect(await numbers(attempt.id, -1)).toEqual(range(0, 2_503));
  expect(await numbers(attempt.id, 2_401)).toEqual(range(2_402, 2_503));
});
