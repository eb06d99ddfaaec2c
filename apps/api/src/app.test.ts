import type { Job } from "@glimpse/contracts";
import { defaultTenant, job, problem, readiness } from "@glimpse/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { openApiDocument } from "./openapi.ts";
import { dataUrl, openTestApp, png } from "./testing.ts";

const documentShape = z.object({
  paths: z.record(z.string(), z.unknown()),
  components: z.object({ schemas: z.record(z.string(), z.record(z.string(), z.unknown())) }),
});

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp();
});
afterAll(() => open.close());

async function post(body: unknown, path = "/v1/jobs"): Promise<Response> {
  const json = typeof body === "string" ? body : JSON.stringify(body);
  return open.app.request(path, {
    method: "POST",
    body: json,
    headers: { "Content-Type": "application/json" },
  });
}

async function submitted(body: unknown): Promise<Job> {
  const response = await post(body);
  expect(response.status).toBe(202);
  return job.parse(await response.json());
}

async function refusal(response: Response) {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = problem.parse(await response.json());
  expect(body).toMatchObject({
    status: response.status,
    request_id: response.headers.get("x-request-id"),
  });
  expect(body.error).toMatchObject({ message: body.detail, code: body.code, param: body.param });
  return body;
}

/** What a worker would take up, and the pictures' bytes. */
async function inputOf(id: string) {
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  return attempt.input;
}

describe("a submission", () => {
  const picture = png(16, 8);

  test("is a job with its links", async () => {
    const response = await post({ prompt: "What?", metadata: { a: "b" } });
    const body = job.parse(await response.json());
    expect(response.headers.get("location")).toBe(`/v1/jobs/${body.id}`);
    expect(body).toMatchObject({
      state: "queued",
      model: "nano",
      version: "nano@1",
      metadata: { a: "b" },
      output: null,
    });
    expect(body.links.events).toBe(`/v1/jobs/${body.id}/events`);
  });

  test("has its pictures before the prompt, and keeps them as blobs", async () => {
    const base64 = Buffer.from(picture).toString("base64");
    const images = [dataUrl(png(8, 8)), { data: base64, media_type: "image/png" }];
    const { id } = await submitted({
      prompt: "What?",
      images,
      options: { temperature: 0, seed: 3 },
    });
    const input = await inputOf(id);
    expect(input.options).toEqual({ temperature: 0, seed: 3 });
    const content = input.messages[0]!.content as { type: string; digest: string }[];
    expect(content.map(({ type }) => type)).toEqual(["image", "image", "text"]);
    expect(Buffer.from((await open.blobs.get(content[1]!.digest))!).equals(picture)).toBe(true);
  });

  test("can be messages, whose image parts take the images in order", async () => {
    const [first, second] = [png(8, 8), png(9, 9)];
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "image" }, { type: "text", text: "What?" }] },
      { role: "assistant", content: "A square." },
      {
        role: "user",
        content: [
          { type: "text", text: "And?" },
          { type: "image_url", image_url: { url: dataUrl(second) } },
        ],
      },
    ];
    const { id } = await submitted({ messages, images: [dataUrl(first)] });
    const input = await inputOf(id);
    const digests = input.messages
      .flatMap(({ content }) => (typeof content === "string" ? [] : content))
      .filter(({ type }) => type === "image");
    const bytes = await Promise.all(
      digests.map((part) => open.blobs.get((part as { digest: string }).digest)),
    );
    expect(bytes.map((blob) => Buffer.from(blob!).readUInt32BE(16))).toEqual([8, 9]);
    expect(input.messages[0]).toEqual({ role: "system", content: "Be brief." });
  });

  test("can be a form", async () => {
    const form = new FormData();
    form.append("prompt", "What?");
    form.append("image", new File([png(8, 8)], "a.png"));
    form.append("image", new File([picture], "b"));
    form.append("options", '{"max_tokens": 5}');
    const response = await open.app.request("/v1/jobs", { method: "POST", body: form });
    expect(response.status).toBe(202);
    const input = await inputOf(job.parse(await response.json()).id);
    expect(input.options).toEqual({ max_tokens: 5 });
    expect(input.messages[0]!.content).toHaveLength(3);
  });

  test("that is big is parsed in a thread, to the same result", async () => {
    const noise = new Uint8Array(1_000_000).map((_, i) => (i * 7919) % 251);
    const big = new Uint8Array([...png(64, 64).subarray(0, -12), ...noise]);
    const { id } = await submitted({ prompt: "What?", images: [dataUrl(big)] });
    const content = (await inputOf(id)).messages[0]!.content as { digest: string }[];
    expect(Buffer.from((await open.blobs.get(content[0]!.digest))!).equals(big)).toBe(true);
    const refused = await refusal(
      await post({ prompt: "What?", images: [dataUrl(big)], nonsense: 1 }),
    );
    expect(refused).toMatchObject({ code: "unknown_field", param: "nonsense" });
  });

  test("whose picture finds no room is refused for now, small or big; one without goes on", async () => {
    const small = png(24, 8);
    const big = new Uint8Array([...png(65, 64).subarray(0, -12), ...new Uint8Array(100_000)]);
    await open.pretendBlobBytes(2 ** 40);
    try {
      for (const bytes of [small, big]) {
        const response = await post({ prompt: "What?", images: [dataUrl(bytes)] });
        expect(response.status).toBe(503);
        expect(response.headers.get("retry-after")).toBe("1");
        expect(await refusal(response)).toMatchObject({ code: "storage_full", retryable: true });
      }
      await submitted({ prompt: "What?" });
    } finally {
      await open.pretendBlobBytes(-(2 ** 40));
    }
    await submitted({ prompt: "What?", images: [dataUrl(small)] });
  });
});

describe("bad input", () => {
  const prompt = "What?";
  const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xd9);
  const image = (bytes: Uint8Array, type?: string) => ({ prompt, images: [dataUrl(bytes, type)] });
  const deep = `${"[".repeat(100)}${"]".repeat(100)}`;
  const cases: [name: string, body: unknown, status: number, code: string, param?: string][] = [
    ["no JSON", "{", 400, "invalid_json"],
    ["JSON that is too deep", deep, 400, "invalid_json"],
    ["an array", [], 422, "invalid_request"],
    ["nothing", {}, 422, "invalid_request"],
    [
      "prompt and messages",
      { prompt, messages: [{ role: "user", content: "x" }] },
      422,
      "invalid_request",
    ],
    ["an empty prompt", { prompt: "" }, 422, "invalid_prompt", "prompt"],
    ["a blank prompt", { prompt: " \n" }, 422, "invalid_prompt", "prompt"],
    ["half a character", String.raw`{"prompt":"\ud800"}`, 400, "invalid_json"],
    ["a field twice", '{"prompt":"x","prompt":"y"}', 400, "invalid_json"],
    ["a prompt that is a number", { prompt: 7 }, 422, "invalid_request", "prompt"],
    ["an unknown field", { prompt, promt: "x" }, 422, "unknown_field", "promt"],
    [
      "an unknown option",
      { prompt, options: { temprature: 1 } },
      422,
      "unknown_field",
      "options.temprature",
    ],
    ["__proto__", String.raw`{"prompt":"x","__proto__":{}}`, 400, "invalid_json"],
    [
      "an option of the wrong type",
      { prompt, options: { max_tokens: "9" } },
      422,
      "invalid_request",
      "options.max_tokens",
    ],
    [
      "a negative temperature",
      { prompt, options: { temperature: -1 } },
      422,
      "invalid_request",
      "options.temperature",
    ],
    [
      "an infinite number",
      String.raw`{"prompt":"x","options":{"top_p":1e400}}`,
      422,
      "invalid_request",
      "options.top_p",
    ],
    [
      "a message of nobody",
      { messages: [{ role: "tool", content: "x" }] },
      422,
      "invalid_request",
      "messages.0.role",
    ],
    [
      "no last question",
      { messages: [{ role: "assistant", content: "x" }] },
      422,
      "invalid_request",
    ],
    [
      "an empty message",
      { messages: [{ role: "user", content: "" }] },
      422,
      "invalid_prompt",
      "messages.0.content",
    ],
    [
      "an unknown part",
      { messages: [{ role: "user", content: [{ type: "audio" }] }] },
      422,
      "invalid_request",
      "messages.0.content.0.type",
    ],
    [
      "a part with too much",
      { messages: [{ role: "user", content: [{ type: "text", text: "x", no: 1 }] }] },
      422,
      "unknown_field",
      "messages.0.content.0.no",
    ],
    [
      "more parts than images",
      { messages: [{ role: "user", content: [{ type: "image" }] }] },
      422,
      "invalid_request",
    ],
    [
      "more images than parts",
      { messages: [{ role: "user", content: "x" }], images: [dataUrl(png(8, 8))] },
      422,
      "invalid_request",
      "images",
    ],
    [
      "too many pictures",
      { prompt, images: Array.from({ length: 5 }, () => dataUrl(png(8, 8))) },
      422,
      "too_many_images",
    ],
    ["too much text", { prompt: "x".repeat(1_000_001) }, 422, "invalid_request", "prompt"],
    ["a model that is not there", { prompt, model: "giant" }, 404, "model_not_found", "model"],
    ["a picture with a side of 7", image(png(7, 64)), 422, "image_too_small", "images.0"],
    ["a picture with too many pixels", image(png(1_001, 1_000)), 422, "image_too_large"],
    ["a bomb of a picture", image(png(16_383, 16_383)), 422, "image_too_large"],
    ["a picture 201 times as long", image(png(8, 1_608)), 422, "image_aspect_ratio"],
    ["a picture cut in its header", image(png(16, 16, 20)), 422, "invalid_image"],
    ["a JPEG without a frame", image(jpeg, "image/jpeg"), 422, "invalid_image"],
    ["a GIF", image(Buffer.from("GIF89a............")), 422, "unsupported_image_media_type"],
    ["an SVG", image(Buffer.from("<svg/>"), "image/svg+xml"), 422, "unsupported_image_media_type"],
    ["a picture of no bytes", image(new Uint8Array()), 422, "empty_image_file"],
    [
      "a picture file that is too large",
      image(new Uint8Array(2_000_001)),
      413,
      "image_file_too_large",
    ],
    [
      "base64 with a star",
      { prompt, images: ["data:image/png;base64,ab*d"] },
      422,
      "invalid_base64_image",
    ],
    [
      "base64 without its end",
      { prompt, images: ["data:image/png;base64,abcde"] },
      422,
      "invalid_base64_image",
    ],
    [
      "URL-safe base64",
      { prompt, images: [{ data: "_-_-", media_type: "image/png" }] },
      422,
      "invalid_base64_image",
    ],
    [
      "a data URL that is not base64",
      { prompt, images: ["data:image/png,abc"] },
      422,
      "invalid_image_url",
    ],
    [
      "a data URL without a comma",
      { prompt, images: ["data:image/png;base64"] },
      422,
      "invalid_image_url",
    ],
    ["a file URL", { prompt, images: ["file:///etc/passwd"] }, 422, "invalid_image_url"],
    ["an ftp URL", { prompt, images: ["ftp://example.com/a.png"] }, 422, "invalid_image_url"],
    [
      "a URL into this machine",
      { prompt, images: ["https://127.0.0.1/a.png"] },
      422,
      "invalid_image_url",
      "images.0",
    ],
    [
      "metadata that is not text",
      { prompt, metadata: { a: 1 } },
      422,
      "invalid_request",
      "metadata.a",
    ],
    [
      "a body that is too large",
      { prompt, images: ["x".repeat(4_000_000)] },
      413,
      "body_too_large",
    ],
  ];

  test.each(cases)("%s", async (_name, body, status, code, param) => {
    const response = await post(body);
    const refused = await refusal(response);
    expect(refused).toMatchObject({ status, code, ...(param !== undefined && { param }) });
    expect(refused.detail).not.toMatch(/zod|expected|Invalid input|undefined/i);
  });

  test("the wrong kind of body", async () => {
    const response = await open.app.request("/v1/jobs", {
      method: "POST",
      body: "x",
      headers: { "Content-Type": "text/plain" },
    });
    expect(await refusal(response)).toMatchObject({ status: 415, code: "unsupported_media_type" });
  });

  test("bytes that are not UTF-8", async () => {
    const body = Buffer.from('{"prompt":"\xff"}', "latin1");
    const response = await open.app.request("/v1/jobs", {
      method: "POST",
      body,
      headers: { "Content-Type": "application/json" },
    });
    expect(await refusal(response)).toMatchObject({ status: 400, code: "invalid_json" });
  });

  test.each([
    ["image as text", { prompt, image: "x" }, "invalid_request", "image"],
    ["options that are not JSON", { prompt, options: "{" }, "invalid_json", "options"],
    ["an unknown field", { prompt, picture: "x" }, "unknown_field", "picture"],
    ["no prompt", { model: "nano" }, "invalid_request", null],
  ])("a form with %s", async (_name, fields, code, param) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    expect(
      await refusal(await open.app.request("/v1/jobs", { method: "POST", body })),
    ).toMatchObject({ code, param });
  });

  test("a broken form", async () => {
    const headers = { "Content-Type": "multipart/form-data; boundary=x" };
    const response = await open.app.request("/v1/jobs", {
      method: "POST",
      body: "--y\r\n",
      headers,
    });
    expect(await refusal(response)).toMatchObject({ status: 400, code: "invalid_multipart" });
  });
});

describe("reading", () => {
  const output = { text: "A circle.", reasoning: null, finish_reason: "stop" as const };
  const usage = { prompt_tokens: 1, image_tokens: 0, completion_tokens: 2 };

  async function finishSoon(id: string, afterMs: number): Promise<void> {
    const attempt = await open.ledger.start(id);
    if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
    await open.ledger.append(attempt, [{ type: "delta", text: "A circle." }]);
    setTimeout(
      () => void open.ledger.finish(attempt, { state: "succeeded", output, usage }),
      afterMs,
    );
  }

  test("an unknown job, whatever its id looks like, is 404 everywhere", async () => {
    for (const id of [
      `job_0_${"0".repeat(32)}`,
      "1",
      "job_0_x:y",
      "a%2Fb",
      "job_9_" + "a".repeat(32),
    ]) {
      for (const [method, path] of [
        ["GET", ""],
        ["GET", "/events"],
        ["POST", "/cancel"],
      ] as const) {
        const response = await open.app.request(`/v1/jobs/${id}${path}`, { method });
        expect(await refusal(response)).toMatchObject({ status: 404, code: "job_not_found" });
      }
    }
  });

  test("a job is not sent twice to who has it", async () => {
    const { id } = await submitted({ prompt: "What?" });
    const first = await open.app.request(`/v1/jobs/${id}`);
    const headers = { "If-None-Match": first.headers.get("etag")! };
    expect((await open.app.request(`/v1/jobs/${id}`, { headers })).status).toBe(304);
    await open.ledger.cancel(id, defaultTenant);
    expect((await open.app.request(`/v1/jobs/${id}`, { headers })).status).toBe(200);
  });

  test("?wait holds until the end, or until it runs out", async () => {
    const { id } = await submitted({ prompt: "What?" });
    const early = await open.app.request(`/v1/jobs/${id}?wait=0.1`);
    expect(job.parse(await early.json()).state).toBe("queued");
    await finishSoon(id, 100);
    const late = await open.app.request(`/v1/jobs/${id}?wait=20`);
    expect(job.parse(await late.json())).toMatchObject({ state: "succeeded", output, usage });
    expect(await refusal(await open.app.request(`/v1/jobs/${id}?wait=soon`))).toMatchObject({
      code: "invalid_request",
      param: "wait",
    });
  });

  test("infer answers 202 when its wait runs out, and the job goes on", async () => {
    const response = await post({ prompt: "What?" }, "/v1/infer?wait=0.1");
    expect(response.status).toBe(202);
    const { id } = job.parse(await response.json());
    expect(response.headers.get("location")).toBe(`/v1/jobs/${id}`);
  });

  test("events stream to the end and resume after any number", async () => {
    const { id } = await submitted({ prompt: "What?" });
    await finishSoon(id, 50);
    const response = await open.app.request(`/v1/jobs/${id}/events`);
    expect(response.headers.get("cache-control")).toBe("no-cache, no-transform");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const text = await response.text();
    expect(text).toMatch(/^retry: [12]\d{3}\n\n/);
    const frames = text.split("\n\n").slice(1, -1);
    expect(frames.map((frame) => frame.split("\n").slice(0, 2).join(" "))).toEqual([
      "id: 0 event: queued",
      "id: 1 event: running",
      "id: 2 event: delta",
      "id: 3 event: succeeded",
    ]);
    const resumed = await open.app.request(`/v1/jobs/${id}/events`, {
      headers: { "Last-Event-ID": "1" },
    });
    expect((await resumed.text()).split("\n\n").slice(1, -1)).toEqual(frames.slice(2));
    const after = await open.app.request(`/v1/jobs/${id}/events?after=2`);
    expect((await after.text()).split("\n\n").slice(1, -1)).toEqual(frames.slice(3));
    expect((await open.app.request(`/v1/jobs/${id}/events?after=3`)).status).toBe(204);
    const bad = await open.app.request(`/v1/jobs/${id}/events?after=x`);
    expect(await refusal(bad)).toMatchObject({ code: "invalid_request", param: "after" });
  });

  test("a canceled job stays canceled", async () => {
    const { id } = await submitted({ prompt: "What?" });
    for (let i = 0; i < 2; i++) {
      const response = await open.app.request(`/v1/jobs/${id}/cancel`, { method: "POST" });
      expect(response.status).toBe(200);
      expect(job.parse(await response.json()).state).toBe("canceled");
    }
  });
});

describe("the service", () => {
  test("is ready when a worker of its version is alive", async () => {
    const before = await open.app.request("/ready");
    expect(before.status).toBe(503);
    expect(readiness.parse(await before.json())).toMatchObject({
      ready: false,
      missing: ["worker"],
    });
    const worker = {
      id: "w",
      model: "nano",
      version: "nano@1",
      slots: 1,
      running: 0,
      event_loop_delay_ms: { p50: 0, p99: 0, max: 0 },
    };
    await open.ledger.beat(worker, 60_000);
    const after = await open.app.request("/ready");
    expect(after.status).toBe(200);
    const models = await (await open.app.request("/v1/models")).json();
    expect(models).toEqual({
      object: "list",
      data: [
        {
          id: "nano",
          object: "model",
          created: 0,
          owned_by: "glimpse",
          versions: [{ id: "nano@1", workers: 1, slots: 1 }],
        },
      ],
    });
  });

  test("describes itself", async () => {
    const document = documentShape.parse(await (await open.app.request("/openapi.json")).json());
    const text = JSON.stringify(document);
    const refs = [...text.matchAll(/"\$ref":"([^"]*)"/g)].map(([, ref]) => ref ?? "");
    expect(refs.length).toBeGreaterThan(10);
    for (const ref of refs) {
      const name = /^#\/components\/schemas\/(\w+)$/.exec(ref)?.[1];
      expect(Object.keys(document.components.schemas), ref).toContain(name);
    }
    expect(document.components.schemas["Submission"]?.["additionalProperties"]).toBe(false);
    expect(Object.keys(document.paths)).toContain("/v1/jobs/{id}/events");
    const doors = open.app.routes.filter(({ method, path }) => {
      return method !== "ALL" && /^\/v1\/(chat|responses|files|batches|webhook)/.test(path);
    });
    expect(doors.length).toBeGreaterThan(10);
    for (const { path } of doors)
      expect(Object.keys(document.paths)).toContain(path.replaceAll(/:(\w+)/g, "{$1}"));
  });

  test("describes every route, and what each needs", async () => {
    const { paths } = openApiDocument;
    const described = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = open.app.routes
      .filter(({ method, path }) => method !== "ALL" && path !== "/*")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`);
    expect(described.toSorted()).toEqual([...new Set(routes)].toSorted());
    expect(paths["/healthz"]!["get"]).toMatchObject({ security: [] });
    expect(paths["/v1/jobs"]!["post"]).toMatchObject({ security: [{ key: ["jobs:write"] }] });
  });

  test("says what is not there, and what cannot be done with what is", async () => {
    expect(await refusal(await open.app.request("/v2/nothing"))).toMatchObject({
      status: 404,
      code: "not_found",
    });
    expect(await refusal(await open.app.request("/v1/jobs", { method: "DELETE" }))).toMatchObject({
      status: 405,
      code: "method_not_allowed",
    });
  });

  test("sends its request id and its security headers with every answer", async () => {
    const { id } = await submitted({ prompt: "What?" });
    await open.ledger.cancel(id, defaultTenant);
    for (const path of ["/healthz", "/nothing", "/v1/jobs/1", `/v1/jobs/${id}/events`]) {
      const { headers } = await open.app.request(path, { headers: { "x-request-id": "mine-1" } });
      expect(headers.get("x-request-id")).toBe("mine-1");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("content-security-policy")).toContain("default-src 'self'");
    }
  });
});
