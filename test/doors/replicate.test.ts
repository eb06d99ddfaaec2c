// Replicate's official client, unmodified, against what `npm start` brings up; only its base URL is changed.
import { readFile } from "node:fs/promises";
import Replicate from "replicate";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { System } from "../support/launch.ts";
import { startSystem, temporaryFolder } from "../support/launch.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const pictureFile = new URL("../../models/nano/heldout/colour-000.png", import.meta.url);
const question = { prompt: "What colour is the shape?", temperature: 0, max_tokens: 24 };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let system: System;
let client: Replicate;
let bytes: Buffer;
let image: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  system = await startSystem(folder.path);
  client = new Replicate({ auth: "unused", baseUrl: `${system.url}/replicate/v1` });
  bytes = await readFile(pictureFile);
  image = `data:image/png;base64,${bytes.toString("base64")}`;
});
afterAll(async () => {
  system.kill("SIGTERM");
  await system.ended;
  await folder.remove();
});

test("run, by model and by version, waiting and polling: the same answer", async () => {
  const input = { ...question, image };
  const answer = await client.run("glimpse/nano", { input });
  expect(answer).toMatch(/\w/);
  const others = [
    client.run("glimpse/nano:nano@1", { input }),
    client.run("glimpse/nano", { input, wait: { mode: "poll", interval: 20 } }),
    client.run("glimpse/nano", { input: { ...question, images: [image] } }),
  ];
  expect(new Set([...(await Promise.all(others)), answer]).size).toBe(1);
});

test("a picture as a file is uploaded or sent inline, and means the same", async () => {
  const [inline, blob, buffer] = await Promise.all(
    [image, new Blob([new Uint8Array(bytes)], { type: "image/png" }), bytes].map((picture) =>
      client.run("glimpse/nano", { input: { ...question, image: picture } }),
    ),
  );
  expect([blob, buffer]).toEqual([inline, inline]);
});

test("stream: the answer in pieces, and done", async () => {
  const input = { ...question, image };
  const events = [];
  for await (const event of client.stream("glimpse/nano", { input })) events.push(event);
  expect(events.at(-1)).toMatchObject({ event: "done", data: "{}" });
  const output = events.filter(({ event }) => event === "output");
  expect(output.map(({ data }) => data).join("")).toBe(await client.run("glimpse/nano", { input }));
});

test("create, get, wait and list", async () => {
  const created = await client.predictions.create({
    version: "nano@1",
    input: { ...question, prompt: "How many shapes are there?", image },
  });
  expect(created).toMatchObject({ status: "starting", output: null, model: "glimpse/nano" });
  const ended = await client.wait(created, { interval: 20 });
  expect(ended).toMatchObject({
    status: "succeeded",
    input: { temperature: 0 },
    error: null,
    logs: "",
  });
  expect(ended.metrics?.predict_time).toBeGreaterThan(0);
  expect(await client.predictions.get(created.id)).toEqual(
    expect.objectContaining({ id: created.id, output: ended.output }),
  );
  const pages = [];
  for await (const page of client.paginate(() => client.predictions.list())) pages.push(...page);
  expect(pages.map(({ id }) => id)).toContain(created.id);
  expect(new Set(pages.map(({ id }) => id)).size).toBe(pages.length);
});

test("models, and a secret to check webhooks with", async () => {
  expect(await client.models.get("glimpse", "nano")).toMatchObject({ name: "nano" });
  expect((await client.models.list()).results).toHaveLength(1);
  expect((await client.webhooks.default.secret.get()).key).toMatch(/^whsec_/);
});
