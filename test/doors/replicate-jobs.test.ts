// The pitfalls of Replicate's official client: with an engine that does as it is told, so that there is time for them.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import Replicate, { validateWebhook } from "replicate";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { z } from "zod";
import { createClient } from "../support/client.ts";
import type { System } from "../support/system.ts";
import { startSystem } from "../support/system.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const model = "glimpse/nano";
let system: System;
let baseUrl: string;
let client: Replicate;
let native: ReturnType<typeof createClient>;
beforeAll(async () => {
  system = await startSystem({
    redisUrl: inject("redisUrl"),
    engine: "scripted",
    env: { SLOTS: "8", OUTBOUND_ALLOW: "127.0.0.0/8", OUTBOUND_PORTS: "any" },
  });
  baseUrl = `${system.url}/replicate/v1`;
  client = new Replicate({ auth: "unused", baseUrl });
  native = createClient(system.url);
});
afterAll(() => system.stop());

const counting = (words: number, everyMs: number) => ({
  input: { prompt: `count ${words} every ${everyMs}` },
});
const counted = (words: number) => Array.from({ length: words }, (_, i) => `${i} `).join("");
const post = (path: string, body: unknown, headers = {}) =>
  fetch(`${baseUrl}${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
const list = z.object({ results: z.array(z.looseObject({ id: z.string() })) });

test("1: a wait that is over says starting, so that the client goes on to ask", async () => {
  const body = { ...counting(40, 50), version: "nano@1" };
  const response = await post("/predictions", body, { Prefer: "wait=1" });
  expect(response.status).toBe(202);
  expect(await response.json()).toMatchObject({ status: "starting", output: null });
  const options = { ...counting(40, 50), wait: { mode: "block" as const, timeout: 1 } };
  expect(await client.run(model, options)).toBe(counted(40));
});

test("2: a prediction that is too late is canceled, which its client takes for an end", async () => {
  const body = { ...counting(1_000, 50), version: "nano@1" };
  const response = await post("/predictions", body, { "Cancel-After": "1s" });
  const { id } = z.looseObject({ id: z.string() }).parse(await response.json());
  const ended = await client.wait(await client.predictions.get(id), { interval: 50 });
  expect(ended).toMatchObject({ status: "canceled", error: expect.any(String) });
  expect(await post("/predictions", body, { "Cancel-After": "soon" })).toMatchObject({
    status: 422,
  });
});

test("3: a stream's address works without credentials, for that stream alone", async () => {
  const guarded = await system.startApi({ AUTH: "keys" });
  expect((await fetch(`${guarded.url}/replicate/v1/predictions`)).status).toBe(401);
  const { urls } = await client.predictions.create({ model, ...counting(5, 10) });
  const own = (urls.stream ?? "").replace(system.url, guarded.url);
  expect(await (await fetch(own)).text()).toContain("event: done\ndata: {}");
  expect((await fetch(own.replace("/stream", ""))).status).toBe(401);
  expect((await fetch(own.replace(/token=.*/, ""))).status).toBe(401);
});

test("4: an answer that begins like a URL stays text where files are switched off", async () => {
  const plain = new Replicate({ auth: "unused", baseUrl, useFileOutput: false });
  expect(await plain.run(model, counting(2, 1))).toBe(counted(2));
});

test("5: streams are not at an address that their client takes for files", async () => {
  const { urls } = await client.predictions.create({ model, ...counting(1, 1) });
  expect(new URL(urls.stream ?? "").pathname).not.toMatch(/^\/v1\/files\//);
});

test("6: a list's next page has an absolute address", async () => {
  for (let i = 0; i < 3; i++) await client.run(model, counting(1 + i, 1));
  const page = z.object({ results: z.array(z.unknown()), next: z.url().nullable() });
  const seen = [];
  let next: string | null = `${baseUrl}/predictions?limit=1`;
  while (next !== null && seen.length < 3) {
    const response: Response = await client.request(next, { method: "GET" });
    const { results, next: further } = page.parse(await response.json());
    seen.push(...results);
    next = further;
  }
  expect(seen).toHaveLength(3);
});

test("7: what an upload is refused with lets the client say why", async () => {
  const picture = new Blob([new Uint8Array([1, 2, 3])]);
  await expect(client.run(model, { input: { prompt: "x", image: picture } })).rejects.toThrow(
    /JPEG, PNG or WebP/,
  );
});

test("8: the client itself in place of the input is refused, and its key goes nowhere", async () => {
  const auth = "r8_a-secret-key";
  const broken = new Replicate({ auth, baseUrl, fileEncodingStrategy: "data-uri" });
  const before = await latest();
  await expect(broken.run(model, counting(1, 1))).rejects.toThrow(/fileEncodingStrategy/);
  expect(await latest()).toBe(before);
  expect(JSON.stringify(system.api.log)).not.toContain(auth);
});

test("9: a POST that is sent six times with one key is one prediction", async () => {
  const keys = new WeakMap<RequestInit, string>();
  const keyed = new Replicate({
    auth: "unused",
    baseUrl,
    fetch: async (url, init) => {
      // The client uses the same one for all its tries.
      const tried = init ?? {};
      keys.set(tried, keys.get(tried) ?? randomUUID());
      const headers = new Headers(tried.headers);
      headers.set("Idempotency-Key", keys.get(tried) ?? "");
      const response = await fetch(url, { ...init, headers });
      if (init?.method === "POST" && losses-- > 0) throw new TypeError("network error");
      return response;
    },
  });
  let losses = 5;
  const { id } = await keyed.predictions.create({ model, ...counting(7, 1) });
  expect(losses).toBeLessThanOrEqual(0);
  expect((await ended(id)).output).toBe(counted(7));
  const all = list.parse(await client.predictions.list()).results;
  const same = all.filter(({ input }) => JSON.stringify(input).includes("count 7 every 1"));
  expect(same).toHaveLength(1);
});

test("10: cancelling is an answer, whatever has become of the prediction", async () => {
  const aborted = new AbortController();
  const options = { ...counting(1_000, 20), wait: { mode: "poll" as const, interval: 20 } };
  setTimeout(() => aborted.abort(), 300);
  await client.run(model, { ...options, signal: aborted.signal });
  expect((await client.predictions.list()).results[0]?.status).toBe("canceled");
  const { id } = await client.predictions.create({ model, ...counting(1, 1) });
  await client.wait(await client.predictions.get(id), { interval: 20 });
  expect((await client.predictions.cancel(id)).status).toBe("succeeded");
});

test("11: what we add to a request is taken, anything else refused by name", async () => {
  const more = { metadata: { a: "b" }, priority: "high", deadline_ms: 60_000 };
  const { id } = await client.predictions.create({ model, ...counting(1, 1), ...more });
  expect(await native.read(`job_${id}`)).toMatchObject({ metadata: { a: "b" }, priority: "high" });
  const refused = await post("/predictions", { ...counting(1, 1), version: "nano", x: 1 });
  expect(refused.status).toBe(422);
  expect(await refused.json()).toMatchObject({ code: "unknown_field", param: "x" });
});

test("a stream's client may leave: the prediction goes on", async () => {
  for await (const event of client.stream(model, counting(40, 20)))
    if (event.event === "output") break;
  const id = await latest();
  expect((await ended(id)).output).toBe(counted(40));
});

test("webhooks are predictions, and genuine by the client's own check", async () => {
  const deliveries: { body: string; headers: IncomingHttpHeaders }[] = [];
  const sink = createServer((request, response) => {
    void text(request).then((body) => {
      deliveries.push({ body, headers: request.headers });
      response.end();
    });
  });
  await new Promise<void>((listening) => sink.listen(0, "127.0.0.1", listening));
  const webhook = `http://127.0.0.1:${(sink.address() as AddressInfo).port}/hook`;
  const { id } = await client.predictions.create({ model, ...counting(40, 50), webhook });
  const seen = () => deliveries.map(({ body }) => z.looseObject({}).parse(JSON.parse(body)));
  await expect.poll(() => seen().at(-1)?.status, { timeout: 10_000 }).toBe("succeeded");
  sink.close();
  expect(seen()[0]).toMatchObject({ id, status: "processing", output: null, webhook });
  const pieces = seen().slice(1, -1);
  expect(pieces.length).toBeGreaterThan(0);
  for (const { output } of pieces) expect(counted(40).startsWith(String(output))).toBe(true);
  expect(seen().at(-1)).toMatchObject({
    id,
    output: counted(40),
    completed_at: expect.any(String),
  });
  const { key } = await client.webhooks.default.secret.get();
  for (const { body, headers } of deliveries) {
    const request = new Request(webhook, {
      method: "POST",
      body,
      headers: new Headers(headers as Record<string, string>),
    });
    expect(await validateWebhook(request, key)).toBe(true);
  }
});

test("a version that is not there, and a prediction that is not there", async () => {
  await expect(client.run("glimpse/nothing", counting(1, 1))).rejects.toThrow(/404/);
  await expect(client.run("glimpse/nano:nano@9", counting(1, 1))).rejects.toThrow(/404/);
  await expect(client.predictions.get("0_1")).rejects.toThrow(/404/);
});

const ended = async (id: string) => client.wait(await client.predictions.get(id), { interval: 20 });

async function latest(): Promise<string> {
  return (await client.predictions.list()).results[0]?.id ?? "";
}
