// Streams over real sockets: what becomes of readers that read slowly, not at all, or from a process that stops.
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:net";
import { defaultTenant } from "@glimpse/contracts";
import type { Attempt } from "@glimpse/ledger";
import { createAdaptorServer } from "@hono/node-server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestApp } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
let server: ReturnType<typeof createAdaptorServer>;
let closing: AbortController;
beforeEach(async () => {
  closing = new AbortController();
  open = await openTestApp({ closing: closing.signal, streamStallMs: 1_000 });
  server = createAdaptorServer({ fetch: open.app.fetch });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  if ("closeAllConnections" in server) server.closeAllConnections();
  server.close();
  await open.close();
});

async function start(): Promise<Attempt> {
  const input = { messages: [{ role: "user" as const, content: "What?" }], options: {} };
  const job = { tenant: defaultTenant, model: "nano", version: "nano@1", input, metadata: {} };
  const { id } = await open.ledger.submit(job);
  const attempt = await open.ledger.start(id);
  if (attempt === null || !("attempt" in attempt)) throw new Error("not started");
  return attempt;
}

/** A connection that has asked for the job's events, and has read nothing yet. */
async function ask(id: string): Promise<Socket> {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.pause();
  await once(socket, "connect");
  socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await expect.poll(() => open.listeners(id)).toBe(1);
  return socket;
}

const read = (path: string, headers = {}) => {
  const { port } = server.address() as AddressInfo;
  return fetch(`http://127.0.0.1:${port}${path}`, { headers });
};

/** More than the buffers of a socket's two ends take. */
async function speakMuch(attempt: Attempt): Promise<void> {
  const text = "x".repeat(200_000);
  for (let i = 0; i < 100; i++) await open.ledger.append(attempt, [{ type: "delta", text }]);
}

test("a reader that does not read is cut, and another gets the rest", async () => {
  const attempt = await start();
  const socket = await ask(attempt.id);
  await speakMuch(attempt);
  await expect.poll(() => open.listeners(attempt.id), { timeout: 5_000 }).toBe(0);
  socket.destroy();
  await open.ledger.finish(attempt, { state: "succeeded" });
  const rest = await read(`/v1/jobs/${attempt.id}/events`, { "Last-Event-ID": "50" });
  const ids = [...(await rest.text()).matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  expect(ids).toEqual(Array.from({ length: 52 }, (_, i) => 51 + i));
});

test("a reader that is slow is waited for", async () => {
  const attempt = await start();
  const socket = await ask(attempt.id);
  let bytes = 0;
  socket.on("data", (data) => {
    bytes += data.length;
    socket.pause();
    setTimeout(() => socket.resume(), 5);
  });
  socket.resume();
  await speakMuch(attempt);
  await open.ledger.finish(attempt, { state: "succeeded" });
  await expect.poll(() => open.listeners(attempt.id), { timeout: 20_000 }).toBe(0);
  await expect.poll(() => bytes, { timeout: 20_000 }).toBeGreaterThan(100 * 200_000);
  socket.destroy();
});

test("a reader that leaves is forgotten", async () => {
  const { id } = await start();
  const socket = await ask(id);
  socket.destroy();
  await expect.poll(() => open.listeners(id)).toBe(0);
});

test("a process that stops asks its readers to come back, and keeps no connection", async () => {
  const { id } = await start();
  const stream = await read(`/v1/jobs/${id}/events`);
  const waiting = read(`/v1/jobs/${id}?wait=20`);
  let text = "";
  for await (const part of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += part;
    if (text.includes("event: running")) closing.abort();
  }
  expect(text).toMatch(/event: running\n.*\n\n: this server stops\nretry: \d{3,4}\n\n$/);
  const answer = await waiting;
  expect([answer.status, answer.headers.get("connection")]).toEqual([200, "close"]);
  expect(await answer.json()).toMatchObject({ state: "running" });
});
