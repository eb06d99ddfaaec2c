// Whether a job is let in, seen from the front door; workers are what the ledger hears of them.
import { setTimeout as sleep } from "node:timers/promises";
import type { Job } from "@glimpse/contracts";
import { job, jobErrorOf, problem, readiness } from "@glimpse/contracts";
import { afterEach, expect, test } from "vitest";
import { openTestApp } from "../testing.ts";

type Open = Awaited<ReturnType<typeof openTestApp>>;
let open: Open;
afterEach(() => open.close());

const version = "nano@1";
/** One answer does for all of these. */
const same = { prompt: "Again?", options: { temperature: 0 } };
/** How long a reading of how a version is doing may be used. */
const pulseMs = 1_050;

async function start(env: Record<string, string>, workers = 1): Promise<void> {
  open = await openTestApp({}, env);
  if (workers > 0) await beat();
}

async function beat(): Promise<void> {
  const event_loop_delay_ms = { p50: 0, p99: 0, max: 0 };
  const worker = { id: "w", model: "nano", version, slots: 2, running: 0, event_loop_delay_ms };
  await open.ledger.beat(worker, 60_000);
}

function send(body: object = {}, headers: Record<string, string> = {}) {
  return open.app.request("/v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ prompt: "What?", ...body }),
  });
}

async function submit(body: object = {}): Promise<Job> {
  const response = await send(body);
  expect(response.status).toBe(202);
  return job.parse(await response.json());
}

/** Runs the job for so long, to this end. */
async function run({ id }: Job, ms: number, code?: "engine_failure"): Promise<void> {
  const started = await open.ledger.start(id);
  if (started === null || !("attempt" in started)) throw new Error("did not start");
  await sleep(ms);
  await open.queues.remove({ id, version });
  const error = code === undefined ? {} : { error: jobErrorOf(code, "No.") };
  await open.ledger.finish(started, {
    state: code === undefined ? "succeeded" : "failed",
    ...error,
  });
}

async function refusal(response: Response) {
  const { code, retryable } = problem.parse(await response.json());
  expect(retryable).toBe(true);
  return [response.status, code, Number(response.headers.get("Retry-After"))];
}

test("a job is refused when those before it take longer than the limit, and told when there is room", async () => {
  // A job takes 100 ms or little more, and two run at once: 80 before one take at most 4 s.
  await start({ MAX_WAIT_MS: "4000", RESULT_CACHE_S: "300" });
  await run(await submit(), 100);
  await sleep(pulseMs);
  const answers = [];
  for (let i = 0; i < 82; i++) answers.push(await send());
  const accepted = answers.filter(({ status }) => status === 202).length;
  expect(accepted).toBeGreaterThan(20);
  expect(accepted).toBeLessThanOrEqual(81);
  expect(await refusal(answers.at(-1)!)).toEqual([503, "overloaded", 1]);
});

test("what need not be run is let in when nothing else is, and so is what was let in before", async () => {
  await start({ MAX_WAIT_MS: "1000", RESULT_CACHE_S: "300" });
  const known = { "Idempotency-Key": "once" };
  await run(await submit(same), 100);
  expect((await send({}, known)).status).toBe(202);
  await sleep(pulseMs);
  while ((await send()).status === 202);
  await sleep(150); // the pause in which nobody is asked what they want
  expect((await send(same)).status).toBe(202);
  expect((await send({}, known)).headers.get("Idempotent-Replayed")).toBe("true");
});

test("a job that would miss its deadline is refused, one that has time is not", async () => {
  await start({});
  await run(await submit(), 100);
  await sleep(pulseMs);
  for (let i = 0; i < 20; i++) await submit();
  const [status, code, retryAfterS] = await refusal(await send({ deadline_ms: 300 }));
  expect([status, code]).toEqual([503, "overloaded"]);
  expect(retryAfterS).toBeGreaterThan(0);
  await submit({ deadline_ms: 60_000 });
});

test("before anything has run there is no pace, and everything is let in", async () => {
  await start({ MAX_WAIT_MS: "1" });
  for (let i = 0; i < 20; i++) await submit({ deadline_ms: 1_000 });
});

test("a version whose jobs break the engine is not asked for more, and tried again later", async () => {
  await start({ BREAKER_OPEN_MS: "2000" });
  const jobs = [];
  for (let i = 0; i < 12; i++) jobs.push(await submit());
  for (const broken of jobs) await run(broken, 0, "engine_failure");
  await sleep(pulseMs);
  expect(await refusal(await send())).toEqual([503, "model_unavailable", 2]);
  const ready = readiness.parse(await (await open.app.request("/ready")).json());
  expect(ready.breakers).toEqual({ [version]: "open" });
  const metrics = await (await open.app.request("/metrics")).text();
  expect(metrics).toContain('glimpse_breaker_state{version="nano@1",state="open"} 1');
  expect(metrics).toContain('glimpse_refusals_total{code="model_unavailable"} 1');

  await sleep(2_000);
  const probe = await submit();
  expect(await refusal(await send())).toEqual([503, "model_unavailable", 1]);
  await run(probe, 0);
  await sleep(pulseMs);
  for (let i = 0; i < 3; i++) await submit();
});

test("jobs wait for a worker that comes back soon, and are refused when none does", async () => {
  await start({ NO_WORKER_GRACE_MS: "1500" }, 0);
  await submit();
  await sleep(pulseMs);
  await submit();
  await sleep(pulseMs);
  expect(await refusal(await send())).toEqual([503, "model_unavailable", 10]);
  await beat();
  await sleep(pulseMs);
  await submit();
});
