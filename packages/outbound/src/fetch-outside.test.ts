import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Server as TcpServer } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fetchOutside } from "./fetch-outside.ts";
import { OutboundError } from "./outbound-error.ts";
import type { OutboundPolicy } from "./policy.ts";

let server: Server;
let garbage: TcpServer;
let port: number;
let requests: IncomingMessage[] = [];

const pages: Record<string, (response: ServerResponse) => void> = {
  "/a": (response) => response.writeHead(200, { "x-two": ["a", "b"] }).end("hello"),
  "/error": (response) => response.writeHead(500).end("sorry"),
  "/once": (response) => response.writeHead(302, { location: "/a" }).end(),
  "/thrice": (response) => response.writeHead(307, { location: "/twice" }).end(),
  "/twice": (response) => response.writeHead(308, { location: "/once" }).end(),
  "/loop": (response) => response.writeHead(302, { location: "/loop" }).end(),
  "/away": (response) => response.writeHead(302, { location: `http://b.example:${port}/a` }).end(),
  "/inside": (response) => response.writeHead(302, { location: "http://10.0.0.1/a" }).end(),
  "/file": (response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
  "/zip": (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(zeros),
  "/big": (response) => response.end(Buffer.alloc(1_001)),
  "/chunks": (response) => {
    for (let i = 0; i < 3; i++) response.write(Buffer.alloc(500, i));
    response.end();
  },
  "/short": (response) => {
    response.writeHead(200, { "content-length": "50" }).write("only this");
    setTimeout(() => response.destroy(), 20);
  },
  "/drip": (response) => {
    const timer = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(timer));
  },
  "/silent": () => {},
};
const zeros = gzipSync(Buffer.alloc(1_000_000));

beforeAll(async () => {
  server = createServer((request, response) => {
    requests.push(request);
    pages[request.url ?? ""]?.(response);
  });
  garbage = createTcpServer((socket) => socket.end("SSH-2.0-OpenSSH_9.2\r\n"));
  await Promise.all(
    [server, garbage].map(
      (each) => new Promise<void>((resolve) => each.listen(0, "127.0.0.1", resolve)),
    ),
  );
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  garbage.close();
});

/** Lets this machine's address through, so that there is something to fetch from. */
const policy: OutboundPolicy = {
  protocols: ["https:", "http:"],
  ports: "any",
  allow: ["127.0.0.1"],
  resolve: async () => ["127.0.0.1"],
};
const fetchHere = (path: string, more: Partial<Parameters<typeof fetchOutside>[1]> = {}) =>
  fetchOutside(`http://a.example:${port}${path}`, {
    policy,
    deadlineMs: 400,
    maxBytes: 1_000,
    ...more,
  });

async function reasonOf(fetched: Promise<unknown>): Promise<string> {
  const error = await fetched.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof OutboundError)) throw error;
  return error.reason;
}

test("the address that was checked is asked, under the name that was given, once on each connection", async () => {
  requests = [];
  const answer = await fetchHere("/a", { headers: { accept: "text/plain" } });
  expect(answer).toMatchObject({ status: 200, isTruncated: false, address: "127.0.0.1" });
  expect(answer.headers["x-two"]).toBe("a, b");
  expect(Buffer.from(answer.body).toString()).toBe("hello");
  expect(requests[0]?.headers).toEqual({
    host: `a.example:${port}`,
    connection: "close",
    accept: "text/plain",
    "accept-encoding": "identity",
  });
});

test("statuses are the caller's business, and a body is sent as it is", async () => {
  requests = [];
  expect(await fetchHere("/error", { method: "POST", body: "{}" })).toMatchObject({ status: 500 });
  expect(requests[0]).toMatchObject({ method: "POST", headers: { "content-length": "2" } });
});

test("redirects are followed as often as is said, and judged like the first address", async () => {
  const maxRedirects = 3;
  expect((await fetchHere("/once", { maxRedirects })).body).toHaveLength(5);
  expect((await fetchHere("/thrice", { maxRedirects })).body).toHaveLength(5);
  expect(await reasonOf(fetchHere("/thrice", { maxRedirects: 2 }))).toBe("too_many_redirects");
  expect(await reasonOf(fetchHere("/loop", { maxRedirects }))).toBe("too_many_redirects");
  expect(await reasonOf(fetchHere("/inside", { maxRedirects }))).toBe("not_allowed");
  expect(await reasonOf(fetchHere("/file", { maxRedirects }))).toBe("not_allowed");
  expect(await fetchHere("/once")).toMatchObject({ status: 302 });
  expect(await fetchHere("/once", { maxRedirects, method: "POST" })).toMatchObject({ status: 302 });
});

test("another host is not told what was meant for the first", async () => {
  requests = [];
  await fetchHere("/away", { maxRedirects: 1, headers: { authorization: "Bearer secret" } });
  expect(requests.map(({ headers }) => [headers.host, headers.authorization])).toEqual([
    [`a.example:${port}`, "Bearer secret"],
    [`b.example:${port}`, undefined],
  ]);
});

test("a long body is cut, or refused", async () => {
  for (const path of ["/big", "/chunks"]) {
    const answer = await fetchHere(path);
    expect([answer.body.length, answer.isTruncated], path).toEqual([1_000, true]);
    expect(await reasonOf(fetchHere(path, { overflow: "refuse" })), path).toBe("too_large");
  }
  expect(await fetchHere("/big", { maxBytes: 1_001 })).toMatchObject({ isTruncated: false });
  // What somebody compressed all the same stays as small as it came.
  expect(Buffer.from((await fetchHere("/zip")).body)).toEqual(zeros.subarray(0, 1_000));
});

test.each([
  ["/drip", "late"],
  ["/silent", "late"],
  ["/short", "unreachable"],
])("%s is %s", async (path, reason) => {
  expect(await reasonOf(fetchHere(path))).toBe(reason);
});

test("what is no HTTP, no TLS, or not there at all", async () => {
  const at = (text: string, more = policy) =>
    reasonOf(fetchOutside(text, { policy: more, deadlineMs: 1_000, maxBytes: 1 }));
  const { port: noHttp } = garbage.address() as AddressInfo;
  expect(await at(`http://a.example:${noHttp}/`)).toBe("bad_answer");
  expect(await at(`https://a.example:${noHttp}/`)).toBe("tls");
  expect(await at("http://a.example:1/")).toBe("unreachable");
  const unknown = { ...policy, resolve: async () => [] };
  expect(await at("http://a.example/", unknown)).toBe("unreachable");
});

test("slow name servers hold nobody longer than the deadline", async () => {
  const slow = { ...policy, resolve: () => sleep(60_000, [], { ref: false }) };
  expect(await reasonOf(fetchHere("/a", { policy: slow, deadlineMs: 50 }))).toBe("late");
});

test("who has lost interest gets their own reason back", async () => {
  const gone = new Error("gone");
  await expect(fetchHere("/silent", { signal: AbortSignal.abort(gone) })).rejects.toBe(gone);
});

test("the second host that answers is as good as the first", async () => {
  const two = {
    ...policy,
    allow: ["127.0.0.0/8"],
    resolve: async () => ["127.0.0.9", "127.0.0.1"],
  };
  expect((await fetchHere("/a", { policy: two, deadlineMs: 2_000 })).address).toBe("127.0.0.1");
});
