// What is refused because there is too much of it, through a real server where connections matter.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "node:http";
import { problem } from "@glimpse/contracts";
import { connectRedis, createRateLimiter } from "@glimpse/ledger";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readConfig } from "../config.ts";
import { createServer } from "../server.ts";
import { openTestApp } from "../testing.ts";
import { limitConnections } from "./connections.ts";
import { createGates } from "./gates.ts";

type Open = Awaited<ReturnType<typeof openTestApp>>;
let open: Open;
const opened: Open[] = [];
const servers: Server[] = [];

async function start(env: Record<string, string>, overrides = {}): Promise<void> {
  open = await openTestApp(overrides, env);
  opened.push(open);
}

async function serve(): Promise<{ server: Server; port: number; url: string }> {
  const server = createServer(open.app, readConfig().server);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { server, port, url: `http://127.0.0.1:${port}` };
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  for (const app of opened.splice(0)) await app.close();
});

const submit = (headers: Record<string, string> = {}) =>
  open.app.request("/v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ prompt: "What?" }),
  });

/** So many at once, when all that is made at the first request has been made: they are over long before the second is. */
async function atOnce(
  count: number,
  ask: (i: number) => Response | Promise<Response>,
): Promise<Response[]> {
  await submit(from("9.9.9.9"));
  return Promise.all(Array.from({ length: count }, async (_, i) => ask(i)));
}

/** As if this address had connected through one proxy of ours. */
const from = (address: string) => ({ "X-Forwarded-For": address });
const oneProxy = { TRUSTED_PROXIES: "1" };

async function expectRefused(response: Response, status: number, code: string): Promise<void> {
  const body = problem.parse(await response.json());
  expect([response.status, body.code, body.retryable]).toEqual([status, code, true]);
  expect(Number(response.headers.get("Retry-After"))).toBeGreaterThan(0);
}

describe("how often", () => {
  test("on loopback nobody is counted, and nothing is said of limits", async () => {
    await start({});
    for (let i = 0; i < 60; i++) expect((await submit()).status).toBe(202);
    expect((await submit()).headers.get("RateLimit")).toBeNull();
  });

  test("an address has ten requests a second and a burst, is told so, and is let in again", async () => {
    await start(oneProxy);
    const answers = await atOnce(40, () => submit(from("8.8.8.8")));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(30);
    const refused = answers.find(({ status }) => status === 429)!;
    expect(refused.headers.get("RateLimit-Policy")).toBe('"ip";q=10;w=1, "ip-burst";q=20;w=10');
    expect(refused.headers.get("RateLimit")).toBe('"ip";r=0;t=1');
    expect(refused.headers.get("x-ratelimit-limit-requests")).toBe("10");
    expect(refused.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    expect(refused.headers.get("x-ratelimit-reset-requests")).toMatch(/^\d{1,4}ms$/);
    await expectRefused(refused, 429, "rate_limited");
    expect((await submit(from("8.8.4.4"))).headers.get("RateLimit")).toBe('"ip";r=9;t=1');
    await sleep(1_100);
    expect((await submit(from("8.8.8.8"))).status).toBe(202);
  });

  test("all of an IPv6 /64 is one, whatever it says it came through before", async () => {
    await start(oneProxy);
    const ask = (i: number) => submit(from(`1.1.1.${i}, 2001:db8:0:1::${i}`));
    const answers = await atOnce(40, ask);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(10);
    expect((await submit(from("2001:db8:0:2::1"))).status).toBe(202);
  });

  test("polling and following cost no submission", async () => {
    await start(oneProxy);
    const { links } = (await (await submit(from("8.8.8.8"))).json()) as { links: { self: string } };
    const poll = () => open.app.request(links.self, { headers: from("8.8.8.8") });
    const polls = await atOnce(160, poll);
    expect(polls.filter(({ status }) => status === 429)).toHaveLength(10);
    expect((await submit(from("8.8.8.8"))).status).toBe(202);
  });

  test("probes are answered always", async () => {
    await start({ RATE_READS_PER_IP: "1" });
    for (let i = 0; i < 10; i++) expect((await open.app.request("/healthz")).status).toBe(200);
  });

  test("a key has a rate of its own, from wherever it is used; bad credentials count for their address", async () => {
    await start({ ...oneProxy, AUTH: "keys", RATE_PER_KEY: "5", RATE_PER_IP: "1000" });
    const made = { name: "a", tenant: "a", scopes: ["jobs:write" as const], expires_at: null };
    const { key } = await open.apiKeys.create(made);
    const other = await open.apiKeys.create({ ...made, name: "b" });
    const use = (key: string, i: number) =>
      submit({ Authorization: `Bearer ${key}`, ...from(`8.8.8.${i}`) });
    const answers = await atOnce(20, (i) => use(key, i));
    // Accepted; whoever may submit but not read is not shown the job.
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
    const fresh = await use(other.key, 0);
    expect(fresh.status).toBe(202);
    expect(fresh.headers.get("x-ratelimit-limit-requests")).toBe("5");
    expect(fresh.headers.get("x-ratelimit-remaining-requests")).toBe("4");
  });

  test("guessing credentials is counted, too", async () => {
    await start({ ...oneProxy, AUTH: "keys" });
    const guess = () => submit({ Authorization: "Bearer glk_nonsense", ...from("8.8.8.8") });
    const answers = await atOnce(40, guess);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(30);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(10);
  });

  test("while the counts cannot be read, reading is counted here, and jobs are refused", async () => {
    const gone = connectRedis("redis://127.0.0.1:1", "failFast", () => {});
    const config = readConfig({ ...oneProxy });
    await start(oneProxy);
    const { keys } = open;
    const gates = createGates(config.gateway, (rate) => createRateLimiter(gone, keys, rate));
    await start(oneProxy, { gates });
    const read = () => open.app.request("/v1/models", { headers: from("8.8.8.8") });
    const reads = await atOnce(160, read);
    expect(reads.filter(({ status }) => status === 200)).toHaveLength(150);
    expect(reads.filter(({ status }) => status === 429)).toHaveLength(10);
    await expectRefused(await submit(from("8.8.8.8")), 503, "unavailable");
    gone.disconnect();
  });
});

describe("how much at once", () => {
  /** Sends this much of a body that is said to have `length` bytes, and no more. */
  async function halfBody(port: number, length: number, sent: number) {
    const socket = connect(port, "127.0.0.1");
    const head = `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
    socket.write(head + " ".repeat(sent));
    const answer = once(socket, "data").then(([data]) => String(data));
    return { socket, answer };
  }

  async function untilHeld(bytes: number): Promise<void> {
    while (gates.held().bytes < bytes) await sleep(5);
  }

  let gates: ReturnType<typeof createGates>;
  beforeEach(async () => {
    const config = readConfig({
      MAX_BYTES_IN_FLIGHT: "300000",
      MAX_BYTES_IN_FLIGHT_PER_KEY: "200000",
    });
    gates = createGates(config.gateway, () => () => Promise.reject(new Error("not asked")));
    await start({}, { gates });
  });

  test("bodies count as they arrive, not as they are promised; what is over the share is refused unread", async () => {
    const { port } = await serve();
    const slow = await halfBody(port, 150_000, 120_000);
    await untilHeld(120_000);
    const heavy = await halfBody(port, 100_000, 0);
    expect(await heavy.answer).toMatch(/429[^]*too_many_bytes/);
    const light = await halfBody(port, 80_000, 80_000);
    expect(await light.answer).toMatch(/^HTTP\/1.1 400 /); // read, and not JSON
    slow.socket.destroy();
    while (gates.held().bytes > 0) await sleep(5);
    for (const { socket } of [heavy, light]) socket.destroy();
  });

  test("a body that says nothing of its length is stopped where its share ends", async () => {
    const { port } = await serve();
    const socket = connect(port, "127.0.0.1");
    const head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
    for (let i = 0; i < 5; i++) socket.write(`c350\r\n${" ".repeat(50_000)}\r\n`);
    const [data] = (await once(socket, "data")) as [Buffer];
    expect(String(data)).toContain("too_many_bytes");
    socket.destroy();
    expect(gates.held().bytes).toBe(0);
  });
});

describe("streams and connections", () => {
  test("so many streams are open at once, and one more when one has ended", async () => {
    await start({ MAX_STREAMS_PER_KEY: "2" });
    const { url } = await serve();
    const { links } = (await (await submit()).json()) as { links: { events: string } };
    const openStream = async () => {
      const leave = new AbortController();
      const response = await fetch(`${url}${links.events}`, { signal: leave.signal });
      return { response, leave };
    };
    const [first, second] = [await openStream(), await openStream()];
    expect([first.response.status, second.response.status]).toEqual([200, 200]);
    await expectRefused((await openStream()).response, 429, "too_many_streams");
    first.leave.abort();
    let again = await openStream();
    for (; again.response.status !== 200; again = await openStream()) await sleep(10);
    for (const { leave } of [second, again]) leave.abort();
  });

  test("an address holds so many connections, and another when it has let one go", async () => {
    await start({});
    const { server, port } = await serve();
    limitConnections(server, 2);
    const sockets = [connect(port, "127.0.0.1"), connect(port, "127.0.0.1")];
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    const refused = connect(port, "127.0.0.1");
    refused.on("error", () => {});
    await once(refused, "close");
    sockets[0]!.destroy();
    await sleep(50);
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
    expect(answer.status).toBe(200);
    sockets[1]!.destroy();
  });
});

test("on an address that others can reach limits are on, on loopback only behind a proxy", () => {
  const of = (env: Record<string, string>) => readConfig({ AUTH: "none", ...env }).gateway;
  expect(of({}).perAddress.writes).toBe(0);
  expect(of({ HOST: "0.0.0.0" })).toMatchObject({
    perAddress: { writes: 10, reads: 50 },
    connectionsPerAddress: 200,
  });
  expect(of({ TRUSTED_PROXIES: "1" })).toMatchObject({
    perAddress: { writes: 10, reads: 50 },
    connectionsPerAddress: null,
  });
  expect(of({ RATE_PER_IP: "3" }).perAddress.writes).toBe(3);
  expect(of({ HOST: "0.0.0.0", RATE_PER_IP: "0" }).perAddress.writes).toBe(0);
});
