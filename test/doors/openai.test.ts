// OpenAI's official client, unmodified, against what `npm start` brings up; only its base URL is changed.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { System } from "../support/launch.ts";
import { startSystem, temporaryFolder } from "../support/launch.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const pictureFile = new URL("../../models/nano/heldout/colour-000.png", import.meta.url);
const model = "nano";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let system: System;
let client: OpenAI;
let url: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  system = await startSystem(folder.path);
  client = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: "unused" });
  url = `data:image/png;base64,${(await readFile(pictureFile)).toString("base64")}`;
});
afterAll(async () => {
  system.kill("SIGTERM");
  await system.ended;
  await folder.remove();
});

const chat = () => ({
  model,
  messages: [
    {
      role: "user" as const,
      content: [
        { type: "text" as const, text: "What colour is the shape?" },
        { type: "image_url" as const, image_url: { url } },
      ],
    },
  ],
  temperature: 0,
  max_completion_tokens: 24,
});

const ask = () => ({
  model,
  input: [
    {
      role: "user" as const,
      content: [
        { type: "input_text" as const, text: "What colour is the shape?" },
        { type: "input_image" as const, image_url: url, detail: "auto" as const },
      ],
    },
  ],
  temperature: 0,
  max_output_tokens: 24,
});

describe("chat", () => {
  test("says the same at once, streamed and by the helper", async () => {
    const { data: whole, request_id } = await client.chat.completions.create(chat()).withResponse();
    const text = whole.choices[0]?.message.content ?? "";
    expect(text).not.toBe("");
    expect(request_id).not.toBeNull();
    expect(whole.usage?.total_tokens).toBeGreaterThan(10);
    let streamed = "";
    let total = 0;
    for await (const chunk of await client.chat.completions.create({
      ...chat(),
      stream: true,
      stream_options: { include_usage: true },
    })) {
      streamed += chunk.choices[0]?.delta.content ?? "";
      total = chunk.usage?.total_tokens ?? total;
    }
    expect(streamed).toBe(text);
    expect(total).toBe(whole.usage?.total_tokens);
    const helped = await client.chat.completions.stream(chat()).finalChatCompletion();
    expect(helped.choices[0]?.message.content).toBe(text);
  });

  test("says how likely its tokens are, at once, streamed and as a response", async () => {
    const wanted = { ...chat(), logprobs: true, top_logprobs: 3 };
    const whole = (await client.chat.completions.create(wanted)).choices[0];
    const tokens = whole?.logprobs?.content ?? [];
    expect(tokens.map(({ token }) => token).join("")).toBe(whole?.message.content);
    expect(tokens.length).toBeGreaterThan(0);
    for (const { token, bytes, logprob, top_logprobs } of tokens) {
      expect(Buffer.from(bytes ?? []).toString()).toBe(token);
      expect(Math.exp(logprob)).toBeLessThanOrEqual(1);
      expect(top_logprobs).toHaveLength(3);
      expect(top_logprobs[0]).toEqual({ token, bytes, logprob }); // greedy
      expect(top_logprobs[1]!.logprob).toBeLessThanOrEqual(logprob);
    }
    const helped = await client.chat.completions.stream(wanted).finalChatCompletion();
    expect(helped.choices[0]?.logprobs?.content).toEqual(tokens);
    const asked = {
      ...ask(),
      include: ["message.output_text.logprobs" as const],
      top_logprobs: 3,
    };
    const expected = [{ content: [{ text: whole?.message.content, logprobs: tokens }] }];
    expect((await client.responses.create(asked)).output).toMatchObject(expected);
    const streamed = await client.responses.stream(asked).finalResponse();
    expect(streamed.output).toMatchObject(expected);
    const plain = await client.chat.completions.create(chat());
    expect(plain.choices[0]?.logprobs).toBeNull();
  });

  test("thinks aloud where clients of open models look for it", async () => {
    const completion = await client.chat.completions.create({
      ...chat(),
      max_completion_tokens: 200,
      reasoning_effort: "high",
    });
    expect(completion.choices[0]?.message).toMatchObject({
      reasoning_content: expect.stringMatching(/./),
    });
  });

  test("refusals are the client's own classes, with code and request id", async () => {
    const refused = await client.chat.completions
      .create({ ...chat(), model: "none" })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OpenAI.NotFoundError);
    expect(refused).toMatchObject({ code: "model_not_found", param: "model" });
    const broken = await client.chat.completions
      .create({
        model,
        messages: [
          {
            role: "user",
            content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }],
          },
        ],
      })
      .catch((error: unknown) => error);
    expect(broken).toBeInstanceOf(OpenAI.UnprocessableEntityError);
    expect(broken).toMatchObject({
      code: "unsupported_image_media_type",
      type: "invalid_request_error",
    });
  });
});

describe("responses", () => {
  test("say the same at once, streamed and in the background", async () => {
    const whole = await client.responses.create(ask());
    expect(whole.status).toBe("completed");
    expect(whole.output_text).not.toBe("");
    const stream = client.responses.stream(ask());
    expect((await stream.finalResponse()).output_text).toBe(whole.output_text);
    let polled = await client.responses.create({ ...ask(), background: true });
    while (polled.status === "queued" || polled.status === "in_progress")
      polled = await client.responses.retrieve(polled.id);
    expect(polled.output_text).toBe(whole.output_text);
    const items = await client.responses.inputItems.list(polled.id);
    expect(items.data).toHaveLength(1);
    await client.responses.delete(polled.id);
    await expect(client.responses.retrieve(polled.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test("resume in the middle, after the end as well, and by the helper", async () => {
    const created = await client.responses.create({ ...ask(), background: true, stream: true });
    const seen = [];
    for await (const event of created) {
      seen.push(event);
      if (event.type === "response.output_text.delta") break; // the connection is closed
    }
    const first = seen[0];
    if (first?.type !== "response.created") throw new Error(`began with ${first?.type}`);
    const { id } = first.response;
    const rest = await client.responses.retrieve(id, {
      stream: true,
      starting_after: seen.at(-1)!.sequence_number,
    });
    for await (const event of rest) seen.push(event);
    expect(seen.map(({ sequence_number }) => sequence_number)).toEqual(seen.map((_, i) => i));
    const last = seen.at(-1);
    if (last?.type !== "response.completed") throw new Error(`ended with ${last?.type}`);
    const text = seen
      .map((event) => (event.type === "response.output_text.delta" ? event.delta : ""))
      .join("");
    const retrieved = await client.responses.retrieve(id);
    expect(text).toBe(retrieved.output_text);
    const helper = client.responses.stream({ response_id: id, starting_after: 3 });
    const numbers = [];
    for await (const event of helper) numbers.push(event.sequence_number);
    expect(numbers[0]).toBe(4);
    expect((await helper.finalResponse()).output_text).toBe(text);
  });
});

test("a batch of fifty questions with a picture each", async () => {
  const lines = Array.from({ length: 50 }, (_, i) =>
    JSON.stringify({
      custom_id: `question-${i}`,
      method: "POST",
      url: "/v1/chat/completions",
      body: { ...chat(), seed: i, max_completion_tokens: 4 },
    }),
  );
  const input = await client.files.create({
    file: await toFile(Buffer.from(lines.join("\n")), "questions.jsonl"),
    purpose: "batch",
  });
  let batch = await client.batches.create({
    input_file_id: input.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
    metadata: { night: "1" },
  });
  while (!batch.completed_at) {
    expect(["in_progress", "finalizing"]).toContain(batch.status);
    await sleep(200);
    batch = await client.batches.retrieve(batch.id);
  }
  expect(batch).toMatchObject({
    status: "completed",
    request_counts: { total: 50, completed: 50, failed: 0 },
    metadata: { night: "1" },
  });
  const content = await (await client.files.content(batch.output_file_id ?? "")).text();
  const answers = content
    .trim()
    .split("\n")
    .map((json) => JSON.parse(json) as { custom_id: string; response: { status_code: number } });
  expect(answers.map(({ custom_id }) => custom_id)).toEqual(lines.map((_, i) => `question-${i}`));
  expect(new Set(answers.map(({ response }) => response.status_code))).toEqual(new Set([200]));
  const batches = await client.batches.list({ limit: 1 });
  expect(batches.data[0]?.id).toBe(batch.id);
  await client.files.delete(input.id);
  await expect(client.files.retrieve(input.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});

test("models are listed", async () => {
  const models = [];
  for await (const { id } of await client.models.list()) models.push(id);
  expect(models).toContain(model);
  expect(await client.models.retrieve(model)).toMatchObject({ id: model, object: "model" });
  await expect(client.models.retrieve("none")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});
