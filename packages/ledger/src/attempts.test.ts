// Attempts that are lost with their workers: who is suspected, who is run alone, who is given up.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestLedger } from "./testing.ts";
import { openTestLedger } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

async function submit(): Promise<string> {
  const input = { messages: [{ role: "user" as const, content: "?" }], options: {} };
  const job = { tenant: "t", model: "nano", version: "nano@1", input, metadata: {} };
  return (await open.ledger.submit(job)).id;
}
const types = async (id: string) => (await open.ledger.readLog(id, -1)).map(({ type }) => type);
const suspect = { refused: "suspect" };

test("an attempt that was lost once is simply followed by another", async () => {
  const id = await submit();
  await open.ledger.start(id);
  expect(await open.ledger.start(id)).toMatchObject({ attempt: 2 });
  expect(await types(id)).toEqual(["queued", "running", "reset", "running"]);
});

test("a job whose worker crashed is queued until it is started alone", async () => {
  const id = await submit();
  await open.ledger.start(id);
  await open.ledger.suspect(id);
  expect(await open.ledger.start(id)).toEqual(suspect);
  expect(await open.ledger.read(id, "t")).toMatchObject({ state: "queued" });
  expect(await open.ledger.start(id)).toEqual(suspect);
  expect(await open.ledger.start(id, true)).toMatchObject({ attempt: 2 });
  expect(await types(id)).toEqual(["queued", "running", "queued", "reset", "running"]);
});

test("who was in company when it happened twice is a suspect too", async () => {
  const id = await submit();
  await open.ledger.start(id);
  await open.ledger.start(id);
  expect(await open.ledger.start(id)).toEqual(suspect);
});

test("who is lost for the third time, and alone, is given up; others are not", async () => {
  const id = await submit();
  await open.ledger.start(id);
  await open.ledger.suspect(id);
  expect(await open.ledger.start(id, true)).toMatchObject({ attempt: 2 });
  expect(await open.ledger.start(id, true)).toMatchObject({ attempt: 3 });
  expect(await open.ledger.start(id, true)).toEqual({ refused: "crashed" });
  expect(await open.ledger.start(id, true)).toEqual({ refused: "crashed" });
});

test("what was handed back was not lost, however often", async () => {
  const id = await submit();
  for (let attempt = 1; attempt <= 5; attempt++) {
    const begun = await open.ledger.start(id);
    expect(begun).toMatchObject({ attempt });
    if (begun === null || !("attempt" in begun)) throw new Error("unreachable");
    expect(await open.ledger.release(begun)).toBe(true);
    // Its answer was lost, and it is sent again.
    expect(await open.ledger.release(begun)).toBe(true);
  }
  expect((await types(id)).filter((type) => type === "queued").length).toBe(6);
});

test("only a job that is being run can become suspect", async () => {
  const id = await submit();
  await open.ledger.suspect(id);
  expect(await open.ledger.start(id)).toMatchObject({ attempt: 1 });
});

test("a start that the connection sends twice begins one attempt", async () => {
  const id = await submit();
  const script = open.redis as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const name = "glimpse_start";
  let sent: unknown[] = [];
  const original = script[name]!;
  script[name] = (...args) => {
    sent = args;
    return original.apply(open.redis, args);
  };
  const first = await open.ledger.start(id);
  script[name] = original;
  expect(await original.apply(open.redis, sent)).toEqual([[1, [1, 2, expect.any(String), -1]]]);
  expect(first).toMatchObject({ attempt: 1, nextEvent: 2 });
  expect(await types(id)).toEqual(["queued", "running"]);
});

test("a record that cannot be read is refused, not thrown about", async () => {
  const id = await submit();
  await open.redis.hset(open.keys.job(id), "input", "{ not JSON");
  expect(await open.ledger.start(id)).toEqual({ refused: "unreadable" });
  const other = await submit();
  await open.redis.hset(open.keys.job(other), "input", '{"messages":"none"}');
  expect(await open.ledger.start(other)).toEqual({ refused: "unreadable" });
});

test("what Redis has forgotten of a log is written again, under the same numbers", async () => {
  const id = await submit();
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("unreachable");
  const say = (text: string) => open.ledger.append(attempt, [{ type: "delta", text }]);
  /** As after a crash of Redis: record and log are what they were `events` events ago. */
  async function forget(events: number): Promise<void> {
    const [log, record] = [open.keys.log(id), open.keys.job(id)];
    const last = await open.redis.xrevrange(log, "+", "-", "COUNT", events);
    await open.redis.xdel(log, ...last.map(([entry]) => entry));
    await open.redis.xsetid(
      log,
      `${attempt !== null && "nextEvent" in attempt ? attempt.nextEvent - events - 1 : 0}-1`,
    );
    await open.redis.hincrby(record, "events", -events);
  }
  for (const text of ["a", "b", "c"]) await say(text);
  await forget(2);
  await say("d");
  await forget(1);
  const last = [{ type: "delta" as const, text: "e" }];
  expect(await open.ledger.finish(attempt, { state: "succeeded" }, last)).toBe(true);
  const log = await open.ledger.readLog(id, -1);
  expect(log.map(({ id: number }) => number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(log.map((event) => (event.type === "delta" ? event.text : "")).join("")).toBe("abcde");
});
