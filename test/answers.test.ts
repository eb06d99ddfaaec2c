// The whole path with the real engine and the model of this repository.
import { readFile } from "node:fs/promises";
import { job } from "@glimpse/contracts";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { textOf } from "@glimpse/client";
import { createClient } from "./support/client.ts";
import type { System } from "./support/system.ts";
import { startSystem } from "./support/system.ts";

const pictureFile = new URL("../models/nano/heldout/colour-000.png", import.meta.url);
const options = { max_tokens: 24, temperature: 0 };

let system: System;
let client: ReturnType<typeof createClient>;
let picture: Uint8Array<ArrayBuffer>;
beforeAll(async () => {
  picture = new Uint8Array(await readFile(pictureFile));
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "nano" });
  client = createClient(system.url);
}, 120_000);
afterAll(() => system.stop());

const dataUrl = (bytes: Uint8Array) =>
  `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;
const question = () => ({
  prompt: "What colour is the shape?",
  images: [dataUrl(picture)],
  options,
});

test("a picture and a question: the same answer by polling, streaming, waiting and as a form", async () => {
  const { id } = await client.submit(question());
  const live = [];
  for await (const event of client.events(id)) live.push(event);
  const polled = await client.poll(id);
  const inferred = await client.infer(question());
  const form = new FormData();
  form.append("prompt", question().prompt);
  form.append("image", new File([picture], "picture.png"));
  form.append("options", JSON.stringify(options));
  const posted = await fetch(`${system.url}/v1/infer`, { method: "POST", body: form });

  expect(polled.state).toBe("succeeded");
  expect(polled.output!.text).toBe(textOf(live));
  expect(polled.usage!.image_tokens).toBeGreaterThan(0);
  expect(polled.usage!.prompt_tokens).toBeGreaterThan(polled.usage!.image_tokens);
  for (const other of [inferred, job.parse(await posted.json())]) {
    expect(other).toMatchObject({
      state: "succeeded",
      output: polled.output!,
      usage: polled.usage!,
    });
  }
  const { queue_ms, first_token_ms, total_ms } = polled.timings;
  expect(queue_ms! <= first_token_ms! && first_token_ms! <= total_ms!).toBe(true);
});

test("several turns, without a picture", async () => {
  const messages = [
    { role: "user", content: "Hello." },
    { role: "assistant", content: "Hello!" },
    { role: "user", content: "And now?" },
  ];
  expect(await client.infer({ messages, options })).toMatchObject({
    state: "succeeded",
    usage: { image_tokens: 0 },
  });
});

test.each([
  [
    "a picture cut in half",
    () => ({ ...question(), images: [dataUrl(picture.subarray(0, picture.length / 2))] }),
    "invalid_image",
  ],
  [
    "a prompt over the context",
    () => ({ prompt: "red circle ".repeat(80_000) }),
    "context_too_long",
  ],
])("%s fails its job, and the worker goes on", async (what, body, code) => {
  const failed = await client.infer(body());
  expect(failed).toMatchObject({
    state: "failed",
    output: null,
    error: { code, retryable: false },
  });
  expect(failed.error!.message).not.toMatch(/vips|png|libspng|0x/i);
  expect(await client.infer({ prompt: `Hello after ${what}.`, options })).toMatchObject({
    state: "succeeded",
    attempt: 1,
  });
  expect(system.worker.log.filter((line) => line.level === "fatal")).toEqual([]);
});
