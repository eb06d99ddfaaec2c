// What is called in one turn of the event loop shares commands, and nothing else.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createGather } from "./gather.ts";
import type { NewJob } from "./submit.ts";
import type { TestLedger } from "./testing.ts";
import { openTestLedger } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

const numbers = Array.from({ length: 40 }, (_, i) => i);
const jobOf = (number: number): NewJob => ({
  tenant: "t",
  model: "nano",
  version: "nano@1",
  input: { messages: [{ role: "user", content: `What is ${number}?` }], options: {} },
  metadata: { number: String(number) },
});

test("forty jobs of one turn are forty jobs, in their order", async () => {
  const jobs = await Promise.all(numbers.map((number) => open.ledger.submit(jobOf(number))));
  const places = jobs.map(({ place }) => place);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  const read = await Promise.all(jobs.map(({ id }) => open.ledger.read(id, "t")));
  expect(read.map((job) => job?.metadata["number"])).toEqual(numbers.map(String));
  const attempts = await Promise.all(jobs.map(({ id }) => open.ledger.start(id)));
  expect(attempts).toEqual(
    numbers.map((number) => expect.objectContaining({ input: jobOf(number).input })),
  );
});

test("one that fails takes no other with it", async () => {
  const [first, broken, last] = await Promise.all(
    [1, 2, 3].map((number) => open.ledger.submit(jobOf(number))),
  );
  await open.redis.set(open.keys.job(broken!.id), "no record");
  const started = await Promise.allSettled(
    [first, broken, last].map((job) => open.ledger.start(job!.id)),
  );
  expect(started.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  const { reason } = started[1] as PromiseRejectedResult;
  expect(reason).toMatchObject({
    name: "ReplyError",
    message: expect.stringMatching(/^WRONGTYPE /),
  });
});

test("calls of one turn leave in few commands, those of another in others; a lost one fails what it carried", async () => {
  const sent: unknown[][] = [];
  let isLost = false;
  const call = createGather(async (keys, args) => {
    sent.push([keys, args]);
    if (isLost) throw new Error("lost");
    return keys.map((key) => [1, `${key}!`]);
  });
  const many = Promise.all(numbers.map((number) => call([`k${number}`], ["a", number])));
  expect(await many).toEqual(numbers.map((number) => `k${number}!`));
  expect(sent.map(([keys]) => (keys as string[]).length)).toEqual([16, 16, 8]);
  expect(await call(["k"], ["a", "b"])).toBe("k!");
  expect(sent.at(-1)).toEqual([["k"], [1, 2, "a", "b"]]);
  isLost = true;
  await expect(call(["k"], [])).rejects.toThrow("lost");
});
