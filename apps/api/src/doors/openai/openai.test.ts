// The door through its front, with the ledger in the worker's place; the official clients are in test/doors.
import { setTimeout as sleep } from "node:timers/promises";
import type { Attempt } from "@glimpse/ledger";
import { defaultTenant, isTerminal } from "@glimpse/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { dataUrl, openTestApp, png } from "../../testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp();
});
afterAll(() => open.close());

const chatPath = "/v1/chat/completions";
const messages = [{ role: "user", content: "What?" }];
const usage = { prompt_tokens: 3, image_tokens: 1, completion_tokens: 2 };

function post(path: string, body: unknown, headers = {}, signal?: AbortSignal) {
  return Promise.resolve(
    open.app.request(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", ...headers },
      ...(signal && { signal }),
    }),
  );
}

const problem = z.looseObject({
  status: z.number(),
  code: z.string(),
  param: z.string().nullable(),
  error: z.object({ message: z.string(), type: z.string(), code: z.string() }).loose(),
});
const named = z.looseObject({ id: z.string() });

/** The tenant's latest job, once there is another than `before`. */
async function latest(before: string | null = null): Promise<string> {
  for (;;) {
    const { jobs } = await open.ledger.list({ tenant: defaultTenant }, 1, null);
    const id = jobs[0]?.id;
    if (id !== undefined && id !== before && !isTerminal(jobs[0]?.state ?? "")) return id;
    await sleep(5);
  }
}

async function begin(id: string): Promise<Attempt> {
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  return attempt;
}

async function answer(id: string, text: string, reasoning: string | null = null, cut = false) {
  const attempt = await begin(id);
  if (reasoning !== null)
    await open.ledger.append(attempt, [{ type: "reasoning", text: reasoning }]);
  for (const word of text.match(/\S+\s*/g) ?? [])
    await open.ledger.append(attempt, [{ type: "delta", text: word }]);
  const finish_reason = cut ? "length" : "stop";
  await open.ledger.finish(attempt, {
    state: "succeeded",
    output: { text, reasoning, finish_reason },
    usage,
  });
}

/** The data of a stream's frames; `[DONE]` as it is. */
function dataOf(text: string) {
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, json = ""]) => json);
  return data.map((json) => (json === "[DONE]" ? json : z.looseObject({}).parse(JSON.parse(json))));
}

describe("chat completions", () => {
  test("answer like OpenAI's, with thoughts and usage", async () => {
    const asked = post(chatPath, {
      model: "nano",
      messages: [
        { role: "developer", content: "Be brief." },
        {
          role: "user",
          content: [
            { type: "text", text: "What?" },
            { type: "image_url", image_url: { url: dataUrl(png(8, 8)), detail: "low" } },
          ],
        },
      ],
      max_completion_tokens: 7,
      temperature: 0,
      stop: ["x"],
      user: "u",
      n: 1,
      service_tier: "flex",
      reasoning_effort: "low",
    });
    const id = await latest();
    const input = await open.ledger.readInput(id, defaultTenant);
    expect(input?.messages[0]).toEqual({ role: "system", content: "Be brief." });
    expect(input?.messages[1]?.content[1]).toMatchObject({ type: "image" });
    expect(input?.options).toEqual({ max_tokens: 7, temperature: 0, stop: ["x"], thinking: true });
    expect(await open.ledger.read(id, defaultTenant)).toMatchObject({ priority: "low" });
    await answer(id, "A circle.", "Round.");
    const response = await asked;
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      id: id.replace("job_", "chatcmpl-"),
      object: "chat.completion",
      model: "nano",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "A circle.", reasoning_content: "Round." },
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    });
  });

  test("stream, with usage when asked for, to [DONE]", async () => {
    const response = await post(chatPath, {
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const id = await latest();
    void answer(id, "A circle.", "Round.", true);
    const text = await response.text();
    // Clients of other languages trip over ids and retries without data.
    expect(text).not.toMatch(/^(id|retry|event):/m);
    const chunks = dataOf(text);
    expect(chunks.at(-1)).toBe("[DONE]");
    const deltas = chunks.flatMap((chunk) =>
      typeof chunk === "string" ? [] : ((chunk["choices"] as { delta: object }[])[0]?.delta ?? []),
    );
    expect(deltas).toEqual([
      { role: "assistant", content: "" },
      { reasoning_content: "Round." },
      { content: "A " },
      { content: "circle." },
      {},
    ]);
    expect(chunks.at(-3)).toMatchObject({ choices: [{ finish_reason: "length" }], usage: null });
    expect(chunks.at(-2)).toMatchObject({ choices: [], usage: { total_tokens: 5 } });
  });

  test("a top_logprobs of nothing changes nothing", async () => {
    const neutral = { messages, logprobs: false, top_logprobs: 0, stream: true };
    expect((await post(chatPath, neutral)).status).toBe(200);
    await answer(await latest(), "A.");
  });

  test("a stream whose job fails says so", async () => {
    const response = await post(chatPath, { messages, stream: true });
    const attempt = await begin(await latest());
    await open.ledger.append(attempt, [{ type: "delta", text: "A " }]);
    const error = { code: "engine_failure", message: "Broken.", retryable: true };
    await open.ledger.finish(attempt, { state: "failed", error });
    const chunks = dataOf(await response.text());
    expect(chunks.at(-1)).toMatchObject({
      error: { message: "Broken.", type: "server_error", code: "engine_failure" },
    });
  });

  test("a new attempt goes on where the one before was, or breaks the stream off", async () => {
    for (const [again, ends] of [
      ["A circle.", "[DONE]"],
      ["A square.", "stream_broken"],
      ["A", "stream_broken"],
    ] as const) {
      const response = await post(chatPath, { messages, stream: true });
      const id = await latest();
      const first = await begin(id);
      await open.ledger.append(first, [{ type: "delta", text: "A cir" }]);
      await open.ledger.release(first);
      await answer(id, again);
      const text = await response.text();
      const said = dataOf(text).map((chunk) =>
        typeof chunk === "string"
          ? ""
          : (z
              .object({
                choices: z.tuple([z.object({ delta: z.object({ content: z.string() }) })]),
              })
              .safeParse(chunk).data?.choices[0].delta.content ?? ""),
      );
      expect(said.join("")).toBe(ends === "[DONE]" ? "A circle." : "A cir");
      expect(text).toContain(ends);
    }
  });

  test("a failed job is a refusal with its own status", async () => {
    const asked = post(chatPath, { messages });
    const id = await latest();
    await open.ledger.cancel(id, defaultTenant);
    const response = await asked;
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(problem.parse(await response.json())).toMatchObject({
      status: 409,
      code: "job_canceled",
    });
  });

  test("the same key and body make one job, however often and at once", async () => {
    const key = { "Idempotency-Key": "six" };
    const all = Array.from({ length: 6 }, () => post(chatPath, { messages }, key));
    await answer(await latest(), "Once.");
    const ids = await Promise.all(all.map(async (one) => named.parse(await (await one).json()).id));
    expect(new Set(ids).size).toBe(1);
    const other = await post(chatPath, { messages, seed: 1 }, key);
    expect(problem.parse(await other.json()).code).toBe("idempotency_conflict");
  });

  test("who goes takes a foreground job along", async () => {
    const leaving = new AbortController();
    const response = await post(chatPath, { messages, stream: true });
    const streamed = await latest();
    await response.body?.cancel();
    await expect.poll(async () => stateOf(streamed)).toBe("canceled");
    const asked = post(chatPath, { messages }, {}, leaving.signal);
    const id = await latest(streamed);
    leaving.abort();
    await asked.catch(() => {});
    await expect.poll(async () => stateOf(id)).toBe("canceled");
  });
});

async function stateOf(id: string) {
  return (await open.ledger.read(id, defaultTenant))?.state;
}

describe("responses", () => {
  test("in the background: read, listened to from anywhere, and removed", async () => {
    const created = await post("/v1/responses", {
      input: [{ role: "user", content: [{ type: "input_text", text: "What?" }] }],
      instructions: "Be brief.",
      background: true,
      temperature: 0.5,
      metadata: { a: "b" },
    });
    const response = z.looseObject({ id: z.string() }).parse(await created.json());
    expect(response).toMatchObject({
      object: "response",
      status: "queued",
      background: true,
      output: [],
      instructions: "Be brief.",
      temperature: 0.5,
      metadata: { a: "b" },
    });
    const path = `/v1/responses/${response.id}`;
    const live = Promise.resolve(open.app.request(`${path}?stream=true`));
    await answer(await latest(), "A round circle.", "Round.");
    const text = await (await live).text();
    const events = dataOf(text) as { type: string; sequence_number: number }[];
    expect(events.map(({ type }) => type.replace("response.", ""))).toEqual([
      "created",
      "queued",
      "in_progress",
      "output_item.added",
      "content_part.added",
      "reasoning_text.delta",
      "reasoning_text.done",
      "content_part.done",
      "output_item.done",
      "output_item.added",
      "content_part.added",
      "output_text.delta",
      "output_text.delta",
      "output_text.delta",
      "output_text.done",
      "content_part.done",
      "output_item.done",
      "completed",
    ]);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, i) => i));
    for (const after of [-1, 0, 5, 11, 16, 17, 99]) {
      const resumed = await open.app.request(`${path}?stream=true&starting_after=${after}`);
      expect(dataOf(await resumed.text())).toEqual(events.slice(after + 1));
    }
    const read = z
      .looseObject({ output: z.array(z.unknown()) })
      .parse(await (await open.app.request(path)).json());
    expect(read).toMatchObject({
      status: "completed",
      usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 },
    });
    expect(events.at(-1)).toMatchObject({ response: read });
    const items = await (await open.app.request(`${path}/input_items?order=asc`)).json();
    expect(items).toMatchObject({
      object: "list",
      data: [
        { role: "system" },
        { role: "user", content: [{ type: "input_text", text: "What?" }] },
      ],
    });
    const deleted = await open.app.request(path, { method: "DELETE" });
    expect(await deleted.json()).toEqual({ id: response.id, object: "response", deleted: true });
    expect((await open.app.request(path)).status).toBe(404);
  });

  test("a cut answer is incomplete, a canceled one cancelled, and leaving does not cancel", async () => {
    const asked = post("/v1/responses", { input: "What?" });
    await answer(await latest(), "A", null, true);
    expect(await (await asked).json()).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
    });
    const live = await post("/v1/responses", { input: "What?", background: true, stream: true });
    const id = await latest();
    await live.body?.cancel();
    await sleep(50);
    expect(await stateOf(id)).toBe("queued");
    const path = `/v1/responses/${id.replace("job_", "resp_")}`;
    const canceled = await open.app.request(`${path}/cancel`, { method: "POST" });
    expect(await canceled.json()).toMatchObject({ status: "cancelled", output: [] });
    const events = dataOf(await (await open.app.request(`${path}?stream=true`)).text());
    expect(events.at(-1)).toMatchObject({
      type: "response.failed",
      response: { status: "cancelled" },
    });
  });

  test("goes on from an earlier one, pictures included, with its own instructions", async () => {
    const picture = { type: "input_image", image_url: dataUrl(png(8, 8)) };
    const first = post("/v1/responses", {
      input: [{ role: "user", content: [{ type: "input_text", text: "What?" }, picture] }],
      instructions: "Be brief.",
    });
    await answer(await latest(), "A circle.");
    const previous_response_id = named.parse(await (await first).json()).id;
    const second = post("/v1/responses", {
      input: "And how big?",
      instructions: "Be long.",
      previous_response_id,
    });
    const id = await latest();
    const input = await open.ledger.readInput(id, defaultTenant);
    expect(input?.messages).toMatchObject([
      { role: "system", content: "Be long." },
      { role: "user", content: [{ text: "What?" }, { type: "image" }] },
      { role: "assistant", content: "A circle." },
      { role: "user", content: "And how big?" },
    ]);
    await answer(id, "Small.");
    expect(await (await second).json()).toMatchObject({ previous_response_id });
    const none = { input: "x", previous_response_id: "resp_0_" + "0".repeat(32) };
    const refused = problem.parse(await (await post("/v1/responses", none)).json());
    expect(refused).toMatchObject({ code: "job_not_found", param: "previous_response_id" });
  });

  test("unknown ids are not found, whatever they look like", async () => {
    for (const id of ["resp_0_" + "0".repeat(32), "resp_", "job_0_" + "0".repeat(32), "x%2Fy"]) {
      for (const [method, rest] of [
        ["GET", ""],
        ["DELETE", ""],
        ["POST", "/cancel"],
        ["GET", "/input_items"],
        ["GET", "?stream=true"],
      ] as const) {
        const response = await open.app.request(`/v1/responses/${id}${rest}`, { method });
        expect(problem.parse(await response.json())).toMatchObject({ code: "job_not_found" });
      }
    }
  });
});

describe("batches", () => {
  async function upload(text: string): Promise<string> {
    const body = new FormData();
    body.append("purpose", "batch");
    body.append("file", new File([text], "questions.jsonl"));
    const response = await open.app.request("/v1/files", { method: "POST", body });
    return named.parse(await response.json()).id;
  }
  const line = (custom_id: string, body: unknown, url = chatPath) =>
    JSON.stringify({ custom_id, method: "POST", url, body });
  const create = async (file: string) =>
    named.parse(
      await (
        await post("/v1/batches", {
          input_file_id: file,
          endpoint: chatPath,
          completion_window: "24h",
        })
      ).json(),
    ).id;
  const batchState = z.looseObject({
    status: z.string(),
    request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
    output_file_id: z.string().nullable(),
    error_file_id: z.string().nullable(),
  });
  const readBatch = async (id: string) =>
    batchState.parse(await (await open.app.request(`/v1/batches/${id}`)).json());
  const contentOf = async (file: string | null) => {
    const text = await (await open.app.request(`/v1/files/${file}/content`)).text();
    return text.split("\n").flatMap((json) => (json === "" ? [] : [JSON.parse(json) as object]));
  };
  /** The job of the latest line, once there is one that says this. */
  const jobSaying = async (text: string) => {
    for (;;) {
      const { jobs } = await open.ledger.list({ tenant: defaultTenant }, 20, null);
      for (const { id, state } of jobs) {
        const input = await open.ledger.readInput(id, defaultTenant);
        if (state === "queued" && input?.messages[0]?.content === text) return id;
      }
      await sleep(20);
    }
  };

  test("each line is a job, and its answer a line, in the file's order", async () => {
    const ask = (content: string) => ({ messages: [{ role: "user", content }] });
    const file = await upload(
      [
        line("b", ask("first of the batch")),
        "",
        line("a", { messages: [] }),
        "{",
        line("c", { input: "third of the batch" }, "/v1/responses"),
        line("d", ask("fourth of the batch")),
        line("e", { input: "x", previous_response_id: "resp_x" }, "/v1/responses"),
      ].join("\r\n"),
    );
    const id = await create(file);
    const first = await jobSaying("first of the batch");
    expect(await open.ledger.read(first, defaultTenant)).toMatchObject({ priority: "low" });
    await answer(await jobSaying("third of the batch"), "Three.");
    await answer(first, "One.");
    const error = { code: "engine_failure", message: "Broken.", retryable: true };
    await open.ledger.finish(await begin(await jobSaying("fourth of the batch")), {
      state: "failed",
      error,
    });
    await expect
      .poll(async () => (await readBatch(id)).status, { timeout: 10_000 })
      .toBe("completed");
    const batch = await readBatch(id);
    expect(batch.request_counts).toEqual({ total: 6, completed: 2, failed: 4 });
    expect(await contentOf(batch.output_file_id)).toMatchObject([
      {
        custom_id: "b",
        response: { status_code: 200, body: { object: "chat.completion" } },
        error: null,
      },
      { custom_id: "c", response: { status_code: 200, body: { object: "response" } } },
    ]);
    expect(await contentOf(batch.error_file_id)).toMatchObject([
      { custom_id: "a", response: { status_code: 422, body: { error: { param: "messages" } } } },
      {
        custom_id: null,
        response: { status_code: 400, body: { error: { code: "invalid_json" } } },
      },
      {
        custom_id: "d",
        response: { status_code: 500, body: { error: { code: "engine_failure" } } },
      },
      { custom_id: "e", response: { body: { error: { code: "unsupported_parameter" } } } },
    ]);
  });

  test("one that is canceled ends with what it has", async () => {
    const file = await upload(
      line("x", { messages: [{ role: "user", content: "never answered" }] }),
    );
    const id = await create(file);
    const job = await jobSaying("never answered");
    const canceled = await open.app.request(`/v1/batches/${id}/cancel`, { method: "POST" });
    expect(batchState.parse(await canceled.json()).status).toBe("cancelling");
    await expect
      .poll(async () => (await readBatch(id)).status, { timeout: 10_000 })
      .toBe("cancelled");
    expect(await stateOf(job)).toBe("canceled");
    const { error_file_id } = await readBatch(id);
    expect(await contentOf(error_file_id)).toMatchObject([
      { custom_id: "x", response: { status_code: 409, body: { error: { code: "job_canceled" } } } },
    ]);
    const list = await (await open.app.request("/v1/batches?limit=1")).json();
    expect(list).toMatchObject({ data: [{ id }], has_more: true });
  });

  test("files are listed, removed, and refused when they are none", async () => {
    const file = await upload("{}");
    const list = await (await open.app.request("/v1/files?limit=1")).json();
    expect(list).toMatchObject({ data: [{ id: file, bytes: 2, filename: "questions.jsonl" }] });
    expect((await open.app.request(`/v1/files/${file}`, { method: "DELETE" })).status).toBe(200);
    for (const rest of ["", "/content"])
      expect((await open.app.request(`/v1/files/${file}${rest}`)).status).toBe(404);
    const none = { input_file_id: file, endpoint: chatPath, completion_window: "24h" };
    expect(problem.parse(await (await post("/v1/batches", none)).json()).code).toBe(
      "file_not_found",
    );
    const empty = await upload("\n");
    const nothing = await post("/v1/batches", { ...none, input_file_id: empty });
    expect(problem.parse(await nothing.json()).code).toBe("invalid_request");
    for (const [body, type, code] of [
      ["x", "text/plain", "unsupported_media_type"],
      ["--y\r\n", "multipart/form-data; boundary=x", "invalid_multipart"],
      ["--x--\r\n", "multipart/form-data; boundary=x", "invalid_multipart"],
    ] as const) {
      const headers = { "Content-Type": type };
      const response = await open.app.request("/v1/files", { method: "POST", body, headers });
      expect(problem.parse(await response.json()).code).toBe(code);
    }
    const big = new FormData();
    big.append("purpose", "batch");
    big.append("file", new File(["x".repeat(4_000_001)], "big.jsonl"));
    const response = await open.app.request("/v1/files", { method: "POST", body: big });
    expect(problem.parse(await response.json()).code).toBe("body_too_large");
  });
});

test("ten thousand deltas of a log come through, each in a chunk of its own", async () => {
  const response = await post(chatPath, { messages, stream: true });
  const attempt = await begin(await latest());
  const text = response.text();
  const words = Array.from({ length: 10_000 }, (_, i) => `${i} `);
  for (let i = 0; i < words.length; i += 100)
    await open.ledger.append(
      attempt,
      words.slice(i, i + 100).map((word) => ({ type: "delta" as const, text: word })),
    );
  const output = { text: words.join(""), reasoning: null, finish_reason: "stop" as const };
  await open.ledger.finish(attempt, { state: "succeeded", output, usage });
  const said = [...(await text).matchAll(/"content":"(\d+ )"/g)].map(([, word]) => word);
  expect(said).toEqual(words);
});

describe("bad input", () => {
  const image = (url: string) => [
    { role: "user", content: [{ type: "image_url", image_url: url }] },
  ];
  const seen = (image_url: string) => ({
    role: "user",
    content: [{ type: "input_image", image_url }],
  });
  test.each<[string, string, unknown, string, string | null]>([
    ["no messages", chatPath, {}, "invalid_request", "messages"],
    ["an unknown field", chatPath, { messages, temprature: 1 }, "unknown_field", "temprature"],
    ["tools", chatPath, { messages, tools: [{}] }, "unsupported_parameter", "tools"],
    ["two answers", chatPath, { messages, n: 2 }, "unsupported_parameter", "n"],
    ["too hot", chatPath, { messages, temperature: 3 }, "invalid_request", "options.temperature"],
    [
      "tops of nothing",
      chatPath,
      { messages, top_logprobs: 2 },
      "invalid_request",
      "options.top_logprobs",
    ],
    [
      "too many tops",
      chatPath,
      { messages, logprobs: true, top_logprobs: 21 },
      "invalid_request",
      "options.top_logprobs",
    ],
    ["no picture", chatPath, { messages: image("data:x") }, "invalid_image_url", null],
    ["another model", chatPath, { messages, model: "gpt" }, "model_not_found", "model"],
    ["no input", "/v1/responses", {}, "invalid_request", "input"],
    [
      "an unknown part",
      "/v1/responses",
      { input: [{ role: "user", content: [{ type: "input_file" }] }] },
      "invalid_request",
      null,
    ],
    [
      "a picture behind instructions and thoughts",
      "/v1/responses",
      { instructions: "Be brief.", input: [{ type: "reasoning" }, seen("data:x")] },
      "invalid_image_url",
      "input.1.content.0.image_url",
    ],
    [
      "a picture that cannot be had",
      "/v1/responses",
      { input: [seen(dataUrl(png(8, 8))), seen("http://127.0.0.1:1/a.png")] },
      "invalid_image_url",
      "input.1.content.0.image_url",
    ],
    [
      "too long a text",
      "/v1/responses",
      { instructions: "Be brief.", input: "x".repeat(1_000_001) },
      "invalid_request",
      "input",
    ],
    [
      "a prompt by name",
      "/v1/responses",
      { input: "x", prompt: { id: "p" } },
      "unsupported_parameter",
      "prompt",
    ],
  ])("%s", async (_name, path, body, code, param) => {
    const response = await post(path, body);
    const refused = problem.parse(await response.json());
    expect(refused).toMatchObject({ code, error: { code }, ...(param !== null && { param }) });
    expect(refused.status).toBeLessThan(500);
  });
});
