// The official client and what becomes of its jobs: with an engine that does as it is told, so that there is time for it.
import OpenAI from "openai";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { createClient } from "../support/client.ts";
import type { System } from "../support/system.ts";
import { startSystem } from "../support/system.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let system: System;
let client: OpenAI;
let native: ReturnType<typeof createClient>;
beforeAll(async () => {
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "scripted" });
  client = new OpenAI({ baseURL: `${system.url}/v1`, apiKey: "unused" });
  native = createClient(system.url);
});
afterAll(() => system.stop());

const chat = (content: string) => ({
  model: "nano",
  messages: [{ role: "user" as const, content }],
});
const jobOf = (id: string) => id.replace(/^(chatcmpl-|resp_)/, "job_");

/** Waits until the job is in this state. */
async function becomes(id: string, state: string): Promise<void> {
  await expect.poll(async () => (await native.read(id)).state, { timeout: 10_000 }).toBe(state);
}

/** Ten thousand in `pnpm test:doors`. */
const words = process.env.DOORS === "full" ? 10_000 : 1_000;

test("thousands of deltas come through, each once and in order", async () => {
  const whole = Array.from({ length: words }, (_, i) => `${i} `).join("");
  let text = "";
  const stream = await client.chat.completions.create({
    ...chat(`count ${words} every 0`),
    stream: true,
  });
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  expect(text).toBe(whole);
  const response = await client.responses.create({
    model: "nano",
    input: `count ${words} every 0`,
    stream: true,
  });
  text = "";
  for await (const event of response)
    if (event.type === "response.output_text.delta") text += event.delta;
  expect(text).toBe(whole);
});

test("who leaves takes a foreground job along, and leaves a background one", async () => {
  const stream = await client.chat.completions.create({
    ...chat("count 500 every 20"),
    stream: true,
  });
  let id = "";
  for await (const chunk of stream) {
    id = jobOf(chunk.id);
    if (chunk.choices[0]?.delta.content) break;
  }
  await becomes(id, "canceled");
  const leaving = new AbortController();
  const before = await latest();
  const asked = client.chat.completions.create(chat("count 501 every 20"), {
    signal: leaving.signal,
  });
  asked.catch(() => {});
  await expect.poll(latest).not.toBe(before);
  leaving.abort();
  await becomes(await latest(), "canceled");
  const background = await client.responses.create({
    model: "nano",
    input: "count 50 every 20",
    background: true,
    stream: true,
  });
  let kept = "";
  for await (const event of background) {
    if (event.type === "response.created") kept = jobOf(event.response.id);
    if (event.type === "response.output_text.delta") break;
  }
  await becomes(kept, "succeeded");
});

async function latest(): Promise<string> {
  const response = await fetch(`${system.url}/v1/jobs?limit=1`);
  const list = (await response.json()) as { data: { id: string }[] };
  return list.data[0]?.id ?? "";
}

test("a background response is canceled by its id", async () => {
  const { id } = await client.responses.create({
    model: "nano",
    input: "count 502 every 20",
    background: true,
  });
  expect((await client.responses.cancel(id)).status).toBe("cancelled");
  expect((await client.responses.retrieve(id)).status).toBe("cancelled");
});

test("six requests in a few milliseconds with one key are one job, though five hang up", async () => {
  const key = { headers: { "Idempotency-Key": "retry-1" } };
  const leaving = new AbortController();
  const all = Array.from({ length: 6 }, (_, i) =>
    client.chat.completions.create(chat("count 20 every 100"), {
      ...key,
      ...(i < 5 && { signal: leaving.signal }),
    }),
  );
  const ids = all.map((one) => one.then(({ id }) => id).catch(() => null));
  await sleep(300);
  leaving.abort();
  const answered = (await Promise.all(ids)).filter((id) => id !== null);
  expect(answered).toHaveLength(1);
  const again = await client.chat.completions.create(chat("count 20 every 100"), key);
  expect(again.id).toBe(answered[0]);
  expect(again.choices[0]?.message.content).toContain("19 ");
});

test("a keyed job whose client never comes back is canceled after a while", async () => {
  const before = await latest();
  const leaving = new AbortController();
  const asked = client.chat.completions.create(chat("count 1000 every 20"), {
    headers: { "Idempotency-Key": "gone-1" },
    signal: leaving.signal,
  });
  asked.catch(() => {});
  await expect.poll(latest).not.toBe(before);
  leaving.abort();
  await becomes(await latest(), "canceled");
});

test("a job that ends in the middle of a stream is an error, not an end", async () => {
  const stream = await client.chat.completions.create({
    ...chat("count 503 every 20"),
    stream: true,
  });
  const read = async () => {
    for await (const { id, choices } of stream)
      if (choices[0]?.delta.content?.startsWith("0 ")) await native.cancel(jobOf(id));
  };
  await expect(read()).rejects.toMatchObject({ code: "job_canceled" });
});
