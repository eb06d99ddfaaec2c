// What we rely on in BullMQ's keys: its locks, its list of active jobs and what wakes a worker that waits.
import { openTestLedger } from "@glimpse/ledger/testing";
import type { TestLedger } from "@glimpse/ledger/testing";
import type { Job, Processor } from "bullmq";
import { Queue } from "bullmq";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Pump } from "./pump.ts";
import { putBack, putBackAllOf } from "./release.ts";

let open: TestLedger;
let queue: Queue;
const pumps: Pump[] = [];

beforeEach(async () => {
  open = await openTestLedger();
  queue = new Queue("q", { connection: open.redis, prefix: open.keys.queue("0") });
});
afterEach(async () => {
  for (const pump of pumps.splice(0)) await pump.close(true);
  await queue.close();
  await open.close();
});

function createPump(name: string, processor: Processor, concurrency = 8): Pump {
  const pump = new Pump("q", processor, {
    connection: open.redis,
    prefix: open.keys.queue("0"),
    name,
    concurrency,
    drainDelay: 20,
    onPoisoned: async () => {},
  });
  pump.on("error", () => {});
  pumps.push(pump);
  return pump;
}

const never = () => new Promise<void>(() => {});

async function add(count: number, priority = 1): Promise<void> {
  for (let i = 0; i < count; i++) {
    await queue.add("job", { i }, { jobId: `job_${i}`, priority });
  }
}

test("what a worker held goes at once to one that waits; what others hold does not", async () => {
  await add(5);
  void createPump("dead", never, 3).run();
  await expect.poll(() => queue.getActiveCount()).toBe(3);
  void createPump("alive", never, 2).run();
  await expect.poll(() => queue.getActiveCount()).toBe(5);
  const seen: (string | undefined)[] = [];
  const heir = createPump("heir", async (job: Job) => void seen.push(job.id), 1);
  void heir.run();
  await sleep(200); // until it waits for jobs

  const released = await putBackAllOf("dead", false, { ...open, queue });
  expect(new Set(released)).toEqual(new Set(["job_0", "job_1", "job_2"]));
  await expect.poll(() => seen.length, { timeout: 2_000 }).toBe(3);
  expect(new Set(seen)).toEqual(new Set(["job_0", "job_1", "job_2"]));
  const active = (await queue.getActive()).map(({ id }) => id);
  expect(new Set(active)).toEqual(new Set(["job_3", "job_4"]));
  expect((await queue.getJob("job_3"))?.attemptsMade).toBe(0);
  expect(await putBackAllOf("dead", false, { ...open, queue })).toEqual([]);
});

test("a holder whose name begins like the dead one's keeps its jobs", async () => {
  await add(1);
  void createPump("dead-not", never).run();
  await expect.poll(() => queue.getActiveCount()).toBe(1);
  expect(await putBackAllOf("dead", true, { ...open, queue })).toEqual([]);
});

test("of a worker that crashed, only what it had begun becomes suspect", async () => {
  const input = { messages: [{ role: "user" as const, content: "?" }], options: {} };
  const submit = async () => {
    const job = { tenant: "t", model: "nano", version: "q", input, metadata: {} };
    const { id } = await open.ledger.submit(job);
    await queue.add("job", {}, { jobId: id, priority: 1 });
    return id;
  };
  const [begun, taken] = [await submit(), await submit()];
  await open.ledger.start(begun);
  void createPump("dead", never).run();
  await expect.poll(() => queue.getActiveCount()).toBe(2);
  await putBackAllOf("dead", true, { ...open, queue });
  expect(await open.ledger.start(begun)).toEqual({ refused: "suspect" });
  expect(await open.ledger.start(taken)).toMatchObject({ attempt: 1 });
});

test("putting back a job by a token that is not its lock's changes nothing", async () => {
  await add(1);
  void createPump("holder", never).run();
  await expect.poll(() => queue.getActiveCount()).toBe(1);
  await expect(putBack("job_0", "holder:99", { ...open, queue })).rejects.toThrow(/lock/i);
  expect(await queue.getActiveCount()).toBe(1);
});
