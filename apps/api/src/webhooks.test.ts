import { randomBytes } from "node:crypto";
import { deliveryList, endpointWithSecret, job, problem } from "@glimpse/contracts";
import { newDeliveryId } from "@glimpse/ledger";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openTestApp } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp();
});
afterAll(() => open.close());

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  return open.app.request(path, {
    method,
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    }),
  });
}

async function refusal(response: Response | Promise<Response>) {
  const { status, code, param } = problem.parse(await (await response).json());
  return { status, code, param };
}

/** An address literal: nothing is looked up, and nothing is sent as long as no courier runs. */
const url = "https://8.8.8.8/hook";
const create = async (body: object = { url }) => {
  const response = await call("POST", "/v1/webhook-endpoints", body);
  expect(response.status).toBe(201);
  return endpointWithSecret.parse(await response.json());
};
const secretOf = (bytes: number) => `whsec_${randomBytes(bytes).toString("base64")}`;
const unknownEndpoint = `whe_${"0".repeat(32)}`;

describe("an endpoint", () => {
  test("shows its secret once", async () => {
    const made = await create({ url, description: "mine", events: ["job.succeeded"] });
    expect(made.secret).toMatch(/^whsec_/);
    const read = await call("GET", `/v1/webhook-endpoints/${made.id}`);
    const { secret: _secret, ...rest } = made;
    expect(await read.json()).toEqual(rest);
    expect(await (await call("GET", "/v1/webhook-endpoints")).text()).not.toContain("whsec_");
  });

  test("takes a secret of one's own, and rotates it", async () => {
    const secret = secretOf(32);
    const made = await create({ url, secret });
    expect(made.secret).toBe(secret);
    const path = `/v1/webhook-endpoints/${made.id}/rotate-secret`;
    const rotated = endpointWithSecret.parse(await (await call("POST", path)).json());
    expect(rotated.secret).not.toBe(secret);
    const chosen = secretOf(24);
    const again = await (await call("POST", path, { secret: chosen, overlap_s: 0 })).json();
    expect(endpointWithSecret.parse(again).secret).toBe(chosen);
  });

  test("can be changed, disabled, enabled and removed", async () => {
    const { id } = await create();
    const path = `/v1/webhook-endpoints/${id}`;
    expect(await (await call("PATCH", path, { state: "disabled" })).json()).toMatchObject({
      state: "disabled",
      disabled_reason: "asked",
      url,
    });
    expect(await refusal(call("POST", `${path}/ping`))).toMatchObject({
      status: 409,
      code: "webhook_endpoint_disabled",
    });
    const enabled = await call("PATCH", path, { state: "enabled", payload: "full" });
    expect(await enabled.json()).toMatchObject({ payload: "full", disabled_reason: null });
    expect((await call("POST", `${path}/ping`)).status).toBe(202);
    expect((await call("DELETE", path)).status).toBe(204);
    expect((await call("DELETE", path)).status).toBe(404);
  });

  test.each([
    [{}, "invalid_request", "url"],
    [{ url, events: [] }, "invalid_request", "events"],
    [{ url, events: ["job.exploded"] }, "invalid_request", "events.0"],
    [{ url, secret: "whsec_c2hvcnQ=" }, "invalid_request", "secret"],
    [{ url, secret: "plain" }, "invalid_request", "secret"],
    [{ url, more: 1 }, "unknown_field", "more"],
    [{ url: "ftp://8.8.8.8/" }, "invalid_webhook_url", "url"],
    [{ url: "http://user:pass@8.8.8.8/" }, "invalid_webhook_url", "url"],
    [{ url: "http://127.0.0.1/" }, "invalid_webhook_url", "url"],
    [{ url: "http://[::1]/" }, "invalid_webhook_url", "url"],
    [{ url: "http://2130706433/" }, "invalid_webhook_url", "url"],
    [{ url: "http://169.254.169.254/" }, "invalid_webhook_url", "url"],
    [{ url: "http://8.8.8.8:6379/" }, "invalid_webhook_url", "url"],
    [{ url: "http://nobody.invalid/" }, "invalid_webhook_url", "url"],
  ])("%j is refused", async (body, code, param) => {
    const refused = await refusal(call("POST", "/v1/webhook-endpoints", body));
    expect(refused).toEqual({ status: 422, code, param });
    if (!("url" in body) || code !== "invalid_webhook_url") return;
    const { id } = await create();
    const changed = await refusal(call("PATCH", `/v1/webhook-endpoints/${id}`, body));
    expect(changed).toEqual({ status: 422, code, param });
    await call("DELETE", `/v1/webhook-endpoints/${id}`);
  });

  test("is not there for those who do not know it", async () => {
    const paths = ["", "/rotate-secret", "/ping", "/deliveries", "/replay"];
    const methods = { "": "GET", "/deliveries": "GET" } as Record<string, string>;
    for (const path of paths)
      for (const id of [unknownEndpoint, "nonsense"]) {
        const method = methods[path] ?? "POST";
        const response = call(method, `/v1/webhook-endpoints/${id}${path}`);
        expect((await refusal(response)).code).toBe("webhook_endpoint_not_found");
      }
  });

  test("there is a limit to them", async () => {
    for (;;) {
      const response = await call("POST", "/v1/webhook-endpoints", { url });
      if (response.status === 201) continue;
      expect(await refusal(response)).toMatchObject({ code: "too_many_webhook_endpoints" });
      break;
    }
    const { data } = (await (await call("GET", "/v1/webhook-endpoints")).json()) as {
      data: { id: string }[];
    };
    for (const { id } of data) await call("DELETE", `/v1/webhook-endpoints/${id}`);
  });
});

describe("a job's webhook", () => {
  test.each([
    [{ url: "http://10.0.0.1/" }, "invalid_webhook_url", "webhook.url"],
    [{ url, events: ["batch.completed"] }, "invalid_request", "webhook.events.0"],
    [{ url, secret: "short" }, "invalid_request", "webhook.secret"],
    ["https://8.8.8.8/", "invalid_request", "webhook"],
  ])("%j is refused", async (webhook, code, param) => {
    const refused = await refusal(call("POST", "/v1/jobs", { prompt: "What?", webhook }));
    expect(refused).toEqual({ status: 422, code, param });
  });

  test("is part of what an idempotency key stands for, and its secret is shown to nobody", async () => {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": "webhook" };
    const submit = (webhook: object) =>
      open.app.request("/v1/jobs", {
        method: "POST",
        body: JSON.stringify({ prompt: "What?", webhook }),
        headers,
      });
    const secret = secretOf(32);
    const first = await submit({ url, secret });
    expect(first.status).toBe(202);
    const text = await first.text();
    expect(text).not.toContain(secret);
    expect((await submit({ url, secret })).status).toBe(202);
    expect((await submit({ url: "https://8.8.4.4/", secret })).status).toBe(422);
    const { id } = job.parse(JSON.parse(text));
    const list = await call("GET", `/v1/jobs/${id}/deliveries`);
    expect(deliveryList.parse(await list.json()).data).toEqual([]);
  });

  test("comes in a form as JSON", async () => {
    const form = new FormData();
    form.set("prompt", "What?");
    form.set("webhook", JSON.stringify({ url: "http://10.0.0.1/" }));
    const response = open.app.request("/v1/jobs", { method: "POST", body: form });
    expect((await refusal(response)).param).toBe("webhook.url");
  });
});

describe("deliveries", () => {
  const open_ = async (tenant = "default", endpoint: string | null = null) => {
    const id = newDeliveryId("0");
    await open.deliveries.open(
      { id, tenant, type: "job.succeeded", endpoint, url, body: "{}" },
      false,
    );
    return id;
  };
  const note = (id: string, tenant = "default") =>
    open.deliveries.note({ id, tenant }, null, { state: "dead", reason: "given_up" });

  test("are listed page by page, the dead by themselves", async () => {
    const ids = [await open_(), await open_(), await open_()];
    await note(ids[1]!);
    const list = async (query: string) => {
      const response = await call("GET", `/v1/webhook-deliveries?${query}`);
      return deliveryList.parse(await response.json());
    };
    const first = await list("limit=2");
    const rest = await list(`limit=100&cursor=${first.next_cursor}`);
    const all = [...first.data, ...rest.data].map(({ id }) => id);
    expect(all).toEqual(expect.arrayContaining(ids));
    expect(new Set(all).size).toBe(all.length);
    expect((await list("state=dead")).data).toMatchObject([{ id: ids[1], reason: "given_up" }]);
    expect((await list("state=pending")).data.map(({ id }) => id)).not.toContain(ids[1]);
    const refused = refusal(call("GET", "/v1/webhook-deliveries?cursor=x"));
    expect(await refused).toMatchObject({ code: "invalid_request", param: "cursor" });
  });

  test("are replayed when they are settled, in person or by a range of time", async () => {
    const { id: endpoint } = await create();
    const [dead, pending] = [await open_("default", endpoint), await open_("default", endpoint)];
    await note(dead);
    const path = `/v1/webhook-endpoints/${endpoint}/replay`;
    const later = { since: new Date(Date.now() + 60_000).toISOString() };
    expect(await (await call("POST", path, later)).json()).toEqual({ replayed: 0 });
    const since = new Date(Date.now() - 60_000).toISOString();
    expect(await (await call("POST", path, { since })).json()).toEqual({ replayed: 1 });
    const again = refusal(call("POST", `/v1/webhook-deliveries/${pending}/replay`));
    expect(await again).toMatchObject({ status: 409, code: "delivery_pending" });
    expect(await refusal(call("POST", path, {}))).toMatchObject({ param: "since" });
  });

  test("another tenant's are not there", async () => {
    const id = await open_("other");
    await note(id, "other");
    for (const [method, path] of [
      ["GET", ""],
      ["POST", "/replay"],
    ] as const) {
      const refused = await refusal(call(method, `/v1/webhook-deliveries/${id}${path}`));
      expect(refused).toMatchObject({ status: 404, code: "delivery_not_found" });
    }
    const unknownJob = `/v1/jobs/job_0_${"0".repeat(32)}/deliveries`;
    expect((await refusal(call("GET", unknownJob))).code).toBe("job_not_found");
  });
});

test("the tenant's own secret stays the same until it is rotated", async () => {
  const read = async () => (await call("GET", "/v1/webhook-secret")).json();
  const first = await read();
  expect(await read()).toEqual(first);
  const rotated = await (await call("POST", "/v1/webhook-secret/rotate")).json();
  expect(rotated).not.toEqual(first);
  expect(await read()).toEqual(rotated);
});
