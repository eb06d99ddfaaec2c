// Through the front door: sending again, listing and deleting.
import type { Job } from "@glimpse/contracts";
import { defaultTenant, job, jobList, problem } from "@glimpse/contracts";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataUrl, openTestApp, png } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp();
});
afterAll(() => open.close());

type Sent = { method?: string; path?: string; key?: string; body?: unknown };

async function send({ method = "POST", path = "/v1/jobs", key, body = { prompt: "What?" } }: Sent) {
  const headers = {
    "Content-Type": "application/json",
    ...(key !== undefined && { "Idempotency-Key": key }),
  };
  return open.app.request(path, { method, headers, body: JSON.stringify(body) });
}

async function accepted(sent: Sent): Promise<{ job: Job; replayed: boolean }> {
  const response = await send(sent);
  expect(response.status).toBe(202);
  const replayed = response.headers.get("Idempotent-Replayed") === "true";
  return { job: job.parse(await response.json()), replayed };
}

async function refusal(response: Response) {
  const body = problem.parse(await response.json());
  expect(body.status).toBe(response.status);
  return { ...body, shouldRetry: response.headers.get("x-should-retry") };
}

const newId = () => `job_0_${randomBytes(16).toString("hex")}`;
const cancel = (id: string) => open.ledger.cancel(id, defaultTenant);

describe("an idempotency key", () => {
  test("makes one job, whether it comes bare or quoted, whatever became of the job", async () => {
    const first = await accepted({ key: "order-1" });
    expect(first.replayed).toBe(false);
    for (const key of ["order-1", '"order-1"']) {
      expect(await accepted({ key })).toEqual({ job: first.job, replayed: true });
    }
    await cancel(first.job.id);
    const again = await accepted({ key: "order-1" });
    expect(again).toMatchObject({ replayed: true, job: { id: first.job.id, state: "canceled" } });
  });

  test("makes one job even when its requests cross", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => accepted({ key: "crossing" })));
    expect(new Set(all.map((one) => one.job.id)).size).toBe(1);
    expect(all.filter(({ replayed }) => !replayed)).toHaveLength(1);
  });

  test("does not mind the order of members or the shape of the same question", async () => {
    const image = dataUrl(png(8, 8));
    const metadata = { a: "1", b: "2" };
    const first = await accepted({
      key: "shape",
      body: { prompt: "What?", images: [image], metadata },
    });
    const content = [
      { type: "image_url", image_url: { url: image } },
      { type: "text", text: "What?" },
    ];
    const body = { metadata: { b: "2", a: "1" }, messages: [{ content, role: "user" }] };
    expect((await accepted({ key: "shape", body })).job.id).toBe(first.job.id);
  });

  test.each([
    ["another prompt", { prompt: "Who?" }],
    ["another picture", { prompt: "What?", images: [dataUrl(png(8, 9))] }],
    ["an option", { prompt: "What?", options: { max_tokens: 1 } }],
    ["metadata", { prompt: "What?", metadata: { a: "1" } }],
    ["a model", { prompt: "What?", model: "nano" }],
  ])("refuses another body: %s", async (_name, body) => {
    await send({ key: "conflict" });
    expect(await refusal(await send({ key: "conflict", body }))).toMatchObject({
      status: 422,
      code: "idempotency_conflict",
      retryable: false,
      shouldRetry: "false",
    });
  });

  test("belongs to its route", async () => {
    const one = await accepted({ key: "route" });
    const other = await accepted({ key: "route", path: "/v1/infer?wait=0" });
    expect(other.job.id).not.toBe(one.job.id);
    const again = await accepted({ key: "route", path: "/v1/infer?wait=0.1" });
    expect(again.job.id).toBe(other.job.id);
  });

  test.each([
    ["nothing", ""],
    ["too long", "x".repeat(256)],
    ["huge", "x".repeat(10_000)],
    ["with a space", "a b"],
    ["half quoted", '"a'],
    ["with a quote inside", '"a"b"'],
    ["empty quotes", '""'],
    ["not ASCII", "Schl\u00fcssel"],
    ["with parameters", '"a";b=1'],
  ])("is refused when it is %s", async (_name, key) => {
    expect(await refusal(await send({ key }))).toMatchObject({
      status: 400,
      code: "invalid_idempotency_key",
    });
  });

  test("can hold quotes and spaces when it is quoted", async () => {
    const { job: first } = await accepted({ key: String.raw`"a \"b\" \\ c"` });
    expect((await accepted({ key: String.raw`"a \"b\" \\ c"` })).job.id).toBe(first.id);
    expect((await accepted({ key: String.raw`"a b \\ c"` })).job.id).not.toBe(first.id);
  });

  test("of a deleted job makes no other", async () => {
    const { job: first } = await accepted({ key: "deleted" });
    await cancel(first.id);
    await open.app.request(`/v1/jobs/${first.id}`, { method: "DELETE" });
    expect(await refusal(await send({ key: "deleted" }))).toMatchObject({
      status: 410,
      code: "job_deleted",
      shouldRetry: "false",
    });
  });
});

describe("PUT", () => {
  test("makes the job that its address names, once", async () => {
    const path = `/v1/jobs/${newId()}`;
    const first = await accepted({ method: "PUT", path });
    expect(first.job.links.self).toBe(path);
    expect(await accepted({ method: "PUT", path })).toEqual({ job: first.job, replayed: true });
    const body = { prompt: "Who?" };
    expect(await refusal(await send({ method: "PUT", path, body }))).toMatchObject({
      code: "idempotency_conflict",
    });
    expect((await open.app.request(path)).status).toBe(200);
  });

  test("does not take over a job that was made without it", async () => {
    const { job: other } = await accepted({});
    expect(await refusal(await send({ method: "PUT", path: other.links.self }))).toMatchObject({
      code: "idempotency_conflict",
    });
  });

  test.each(["1", "job_0_x", `job_1_${"0".repeat(32)}`, `job_0_${"A".repeat(32)}`])(
    "refuses the id %s",
    async (id) => {
      expect(await refusal(await send({ method: "PUT", path: `/v1/jobs/${id}` }))).toMatchObject({
        status: 422,
        code: "invalid_request",
        param: "id",
      });
    },
  );
});

describe("a list", () => {
  const list = (query: string) => open.app.request(`/v1/jobs${query}`);
  const read = async (query: string) => jobList.parse(await (await list(query)).json());

  test("has what passes its filters, page by page", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) {
      const body = { prompt: "What?", metadata: { batch: "list test", i: `${i}` } };
      ids.push((await accepted({ body })).job.id);
    }
    await cancel(ids[4]!);
    const mine = "?metadata[batch]=list%20test";
    const first = await read(`${mine}&limit=2`);
    const second = await read(`${mine}&limit=50&cursor=${first.next_cursor}`);
    expect(first.data).toHaveLength(2);
    expect(second.next_cursor).toBeNull();
    const listed = [...first.data, ...second.data].map(({ id }) => id);
    expect(listed.toSorted()).toEqual(ids.toSorted());
    expect((await read(`${mine}&metadata[i]=3`)).data.map(({ id }) => id)).toEqual([ids[3]]);
    expect((await read(`${mine}&state=canceled&state=failed`)).data).toMatchObject([
      { id: ids[4], state: "canceled" },
    ]);
    const { created_at } = job.parse(await (await open.app.request(`/v1/jobs/${ids[0]}`)).json());
    const later = await read(`${mine}&created_after=${created_at}`);
    expect(later.data.map(({ id }) => id)).not.toContain(ids[0]);
    const none = await read(`${mine}&created_before=${created_at}`);
    expect(none).toEqual({ object: "list", data: [], next_cursor: null });
  });

  test.each([
    ["?stat=queued", "unknown_field", "stat"],
    ["?state=waiting", "invalid_request", "state.0"],
    ["?limit=0", "invalid_request", "limit"],
    ["?limit=101", "invalid_request", "limit"],
    ["?limit=x", "invalid_request", "limit"],
    ["?limit=1&limit=2", "invalid_request", "limit"],
    ["?created_after=yesterday", "invalid_request", "created_after"],
    ["?created_before=2026-01-31", "invalid_request", "created_before"],
    ["?cursor=x", "invalid_request", "cursor"],
    ["?cursor=", "invalid_request", "cursor"],
    [`?metadata[a]=${"x".repeat(513)}`, "invalid_request", "metadata.a"],
    ["?metadata[]=x", "invalid_request", "metadata."],
    ["?metadata=x", "invalid_request", "metadata"],
  ])("refuses %s", async (query, code, param) => {
    const refused = await refusal(await list(query));
    expect(refused).toMatchObject({ status: 422, code, param });
    expect(refused.detail).not.toMatch(/zod|expected|Invalid input|undefined/i);
  });
});

describe("DELETE", () => {
  const remove = (id: string) => open.app.request(`/v1/jobs/${id}`, { method: "DELETE" });

  test("removes a job that has ended, and only such a one", async () => {
    const { job: made } = await accepted({});
    expect(await refusal(await remove(made.id))).toMatchObject({
      status: 409,
      code: "job_not_ended",
    });
    await cancel(made.id);
    expect((await remove(made.id)).status).toBe(204);
    for (const path of ["", "/events"]) {
      const response = await open.app.request(`/v1/jobs/${made.id}${path}`);
      expect(await refusal(response)).toMatchObject({ code: "job_not_found" });
    }
    expect(await refusal(await remove(made.id))).toMatchObject({ code: "job_not_found" });
  });

  test("knows no job that is not there", async () => {
    for (const id of [newId(), "1"])
      expect(await refusal(await remove(id))).toMatchObject({ code: "job_not_found" });
  });
});

test("an identical question is answered without being run again", async () => {
  const body = { prompt: "How many?", options: { temperature: 0 } };
  const { job: first } = await accepted({ body });
  const { job: second } = await accepted({ body });
  const attempt = await open.ledger.start(first.id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  const output = { text: "Two.", reasoning: null, finish_reason: "stop" as const };
  await open.ledger.finish(attempt, { state: "succeeded", output });
  const { job: third } = await accepted({ body });
  expect(third).toMatchObject({ state: "succeeded", output, reused: true });
  const path = `/v1/jobs/${second.id}?wait=1`;
  expect(job.parse(await (await open.app.request(path)).json())).toMatchObject({
    state: "succeeded",
    output,
    reused: true,
  });
  expect(new Set([first.id, second.id, third.id]).size).toBe(3);
});
