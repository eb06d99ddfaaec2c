import { defaultTenant, jobErrorOf } from "@glimpse/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Accepted } from "./ended-job.ts";
import { endedJob } from "./ended-job.ts";
import { openTestApp } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp();
});
afterAll(() => open.close());

const accepted = {
  model: "nano",
  version: "nano@1",
  priority: "high",
  metadata: { a: "b" },
} as const;
const output = { text: "A circle.", reasoning: null, finish_reason: "stop" } as const;
const usage = { prompt_tokens: 8, image_tokens: 0, completion_tokens: 3 };

async function submit(temperature = 1): Promise<Accepted> {
  const { model, version, priority, metadata } = accepted;
  const input = {
    messages: [{ role: "user" as const, content: "What?" }],
    options: { temperature },
  };
  const standing = { priority, deadlineMs: 5_000 };
  const job = { tenant: defaultTenant, model, version, input, metadata, standing };
  const { id, createdAtMs } = await open.ledger.submit(job);
  return { id, ...accepted, deadlineMs: 5_000, createdAtMs };
}

async function run(id: string, state: "succeeded" | "failed"): Promise<void> {
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  const error = jobErrorOf("engine_failure", "It broke.");
  const outcome = state === "failed" ? { state, error } : { state, output, usage };
  await open.ledger.finish(attempt, outcome, [{ type: "delta", text: output.text }]);
}

async function told(job: Accepted, event = -1) {
  const events = await open.ledger.readLog(job.id, -1);
  return endedJob(job, JSON.stringify(events.at(event)));
}

test("a job that has succeeded is told as the ledger has it", async () => {
  const job = await submit();
  await run(job.id, "succeeded");
  const read = await open.ledger.read(job.id, defaultTenant);
  expect(JSON.stringify(await told(job))).toBe(JSON.stringify(read));
  expect(read).toMatchObject({ state: "succeeded", output, attempt: 1, reused: false });
});

test("one that was begun anew is told of its latest attempt", async () => {
  const job = await submit();
  const lost = await open.ledger.start(job.id);
  if (lost === null || !("attempt" in lost)) throw new Error("not started");
  await open.ledger.release(lost);
  await run(job.id, "succeeded");
  expect(await told(job)).toEqual(await open.ledger.read(job.id, defaultTenant));
});

test("what the events do not tell has to be read", async () => {
  const failed = await submit();
  await run(failed.id, "failed");
  const first = await submit(0);
  const joined = await submit(0);
  await run(first.id, "succeeded");
  expect(await told(failed)).toBeNull();
  expect((await told(first))?.reused).toBe(false);
  expect((await open.ledger.read(joined.id, defaultTenant))?.reused).toBe(true);
  expect(await told(joined)).toBeNull();
  expect(await told(first, 1)).toBeNull();
});
