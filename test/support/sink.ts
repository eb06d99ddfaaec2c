/** A receiver of webhooks that behaves as it is told, path by path, and keeps what it was sent. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { WebhookMessage } from "@glimpse/contracts";
import { webhookMessage } from "@glimpse/contracts";

export type Received = {
  path: string;
  /** When all of it was there, Unix ms. */
  atMs: number;
  headers: Record<string, string>;
  text: string;
  message: WebhookMessage;
};

/** Answers the `nth` request (from 1) to a path. */
export type Behaviour = (answer: ServerResponse, nth: number) => void | Promise<void>;

export type Sink = Awaited<ReturnType<typeof startSink>>;

const ok: Behaviour = (answer) => void answer.writeHead(204).end();

/** Listens on a free port of the address. Paths that nothing is said about are answered with 204. */
export async function startSink(host = "127.0.0.1", port = 0) {
  const received: Received[] = [];
  const counts = new Map<string, number>();
  const behaviours = new Map<string, Behaviour>();
  let connections = 0;

  async function take(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = request.url?.split("?")[0] ?? "";
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString("utf8");
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const message = webhookMessage.parse(JSON.parse(text));
    received.push({ path, atMs: Date.now(), headers, text, message });
    const nth = (counts.get(path) ?? 0) + 1;
    counts.set(path, nth);
    await (behaviours.get(path) ?? ok)(answer, nth);
  }

  const server = createServer((request, answer) => {
    answer.on("error", () => {});
    take(request, answer).catch(() => request.socket.destroy());
  });
  server.on("connection", (socket) => {
    connections++;
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const address = server.address() as AddressInfo;

  return {
    url: `http://${host}:${address.port}`,
    port: address.port,
    received,
    /** How many connections have been made, whatever came of them. */
    connections: () => connections,
    /** What came to a path, in order. */
    at: (path: string) => received.filter((one) => one.path === path),
    behave: (path: string, behaviour: Behaviour) => behaviours.set(path, behaviour),
    async close(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
