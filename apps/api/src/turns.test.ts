// Through the front door: deadlines, priorities, the limit on a tenant's jobs, and a queued job's place.
import { defaultTenant, job, problem } from "@glimpse/contracts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readConfig } from "./config.ts";
import { openTestApp } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeEach(async () => {
  open = await openTestApp();
});
afterEach(() => open.close());

async function send(body: unknown, app = open.app): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  return app.request("/v1/jobs", { method: "POST", headers, body: JSON.stringify(body) });
}

async function submit(more: Record<string, unknown> = {}) {
  const response = await send({ prompt: "What?", ...more });
  expect(response.status).toBe(202);
  return job.parse(await response.json());
}

async function read(id: string) {
  return job.parse(await (await open.app.request(`/v1/jobs/${id}`)).json());
}

const deadlineMs = (one: { created_at: string; deadline_at: string | null }) =>
  Date.parse(one.deadline_at ?? "") - Date.parse(one.created_at);

describe("a deadline", () => {
  test("counts from acceptance; who gives none has the default", async () => {
    expect(deadlineMs(await submit({ deadline_ms: 1_500 }))).toBe(1_500);
    expect(deadlineMs(await submit())).toBe(3_600_000);
  });

  test("comes with a form as well", async () => {
    const body = new FormData();
    body.set("prompt", "What?");
    body.set("deadline_ms", "2500");
    body.set("priority", "high");
    const response = await open.app.request("/v1/jobs", { method: "POST", body });
    const accepted = job.parse(await response.json());
    expect([deadlineMs(accepted), accepted.priority]).toEqual([2_500, "high"]);
  });

  test("that has passed ends the job when a worker would start it", async () => {
    const { id } = await submit({ deadline_ms: 1 });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await open.ledger.start(id)).toEqual({ ended: "expired" });
    expect(await read(id)).toMatchObject({
      state: "expired",
      attempt: 0,
      error: { code: "deadline_exceeded", retryable: true },
    });
    const log = await open.ledger.readLog(id, -1);
    expect(log.map((event) => event.type)).toEqual(["queued", "expired"]);
  });
});

test.each([
  ["deadline_ms", 0],
  ["deadline_ms", -1],
  ["deadline_ms", 1.5],
  ["deadline_ms", "soon"],
  ["deadline_ms", 86_400_001],
  ["priority", "urgent"],
  ["priority", 1],
])("%s %s is refused by name", async (name, value) => {
  const response = await send({ prompt: "What?", [name]: value });
  const body = problem.parse(await response.json());
  expect([response.status, body.code, body.param]).toEqual([422, "invalid_request", name]);
});

test("a queued job has a place and an estimate of its wait", async () => {
  const first = await submit();
  expect((await read(first.id)).queue).toEqual({ position: 1, estimated_wait_ms: null });

  const beat = {
    id: "w",
    model: "nano",
    version: "nano@1",
    slots: 2,
    running: 2,
    event_loop_delay_ms: { p50: 0, p99: 0, max: 0 },
  };
  await open.ledger.beat(beat, 60_000);
  const attempt = await open.ledger.start(first.id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("did not start");
  await new Promise((resolve) => setTimeout(resolve, 100));
  await open.ledger.finish(attempt, { state: "succeeded" });
  await open.queues.remove({ id: first.id, version: first.version });
  expect((await read(first.id)).queue).toBeNull();
  // What is known of the pace is read once a second.
  await new Promise((resolve) => setTimeout(resolve, 1_000));

  const jobs = [await submit(), await submit(), await submit()];
  const places = await Promise.all(jobs.map(async ({ id }) => (await read(id)).queue));
  expect(places.map((place) => place?.position)).toEqual([1, 2, 3]);
  // Two slots take a job each 100 ms.
  for (const place of places) {
    const expected = place!.position * 50;
    expect(place!.estimated_wait_ms).toBeGreaterThanOrEqual(expected * 0.9);
    expect(place!.estimated_wait_ms).toBeLessThanOrEqual(expected * 3);
  }
});

test("a tenant with too many jobs is refused, told to come back, and taken again when one has ended", async () => {
  await open.close();
  open = await openTestApp({
    shares: { defaultDeadlineMs: 60_000, maxActive: 2, maxActiveBytes: 1_000_000, weights: {} },
  });
  const [first] = [await submit(), await submit()];
  const response = await send({ prompt: "What?" });
  expect([response.status, response.headers.get("Retry-After")]).toEqual([429, "1"]);
  expect(response.headers.get("x-should-retry")).toBe("true");
  expect(problem.parse(await response.json()).code).toBe("too_many_jobs");
  await open.ledger.cancel(first!.id, defaultTenant);
  await submit();
});

test("tenants' weights come from the environment", () => {
  const read = (TENANT_WEIGHTS: string) => readConfig({ TENANT_WEIGHTS }).shares.weights;
  expect(readConfig({}).shares.weights).toEqual({});
  expect(read("a=2,b-c=0.5")).toEqual({ a: 2, "b-c": 0.5 });
  for (const wrong of ["a", "a=", "a=0", "a=100", "a b=1", "a=x"])
    expect(() => read(wrong), wrong).toThrow("TENANT_WEIGHTS");
});
