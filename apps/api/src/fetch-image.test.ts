import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiError } from "./api-error.ts";
import { createFetchImage, isPublicAddress } from "./fetch-image.ts";
import { png, testLimits } from "./testing.ts";

const picture = png(16, 16);
let server: Server;
let port: number;
let requests: IncomingMessage[] = [];

const pages: Record<string, (response: ServerResponse) => void> = {
  "/a.png": (response) => response.end(picture),
  "/text": (response) => response.end("hello"),
  "/once": (response) => response.writeHead(302, { location: "/a.png" }).end(),
  "/loop": (response) => response.writeHead(302, { location: "/loop" }).end(),
  "/inside": (response) => response.writeHead(302, { location: "http://10.0.0.1/a.png" }).end(),
  "/file": (response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
  "/error": (response) => response.writeHead(500).end(picture),
  "/gzip": (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(picture),
  "/big": (response) => response.end(Buffer.alloc(testLimits.imageBytes + 1)),
  "/endless": (response) => {
    const timer = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(timer));
  },
  "/silent": () => {},
};

beforeAll(async () => {
  server = createServer((request, response) => {
    requests.push(request);
    pages[request.url ?? ""]?.(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Lets this machine's address through, so that there is something to fetch from. */
const fetchHere = createFetchImage({
  limits: testLimits,
  timeoutMs: 500,
  protocols: ["http:"],
  isAllowed: (address) => address === "127.0.0.1",
  resolve: async () => ["127.0.0.1"],
});

async function codeOf(fetched: Promise<unknown>): Promise<string> {
  const error = await fetched.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw error;
  return error.code;
}

test("a picture is fetched from the address that was checked, under the name that was asked for", async () => {
  requests = [];
  const { bytes } = await fetchHere(`http://pictures.example:${port}/a.png`, "images.0");
  expect(Buffer.from(bytes).equals(picture)).toBe(true);
  expect(requests[0]?.headers).toMatchObject({
    host: `pictures.example:${port}`,
    "accept-encoding": "identity",
  });
});

test("redirects are followed, three at most, and judged like the first address", async () => {
  expect((await fetchHere(`http://x.example:${port}/once`, "p")).bytes.length).toBe(picture.length);
  expect(await codeOf(fetchHere(`http://x.example:${port}/loop`, "p"))).toBe(
    "failed_to_download_image",
  );
  expect(await codeOf(fetchHere(`http://x.example:${port}/inside`, "p"))).toBe("invalid_image_url");
  expect(await codeOf(fetchHere(`http://x.example:${port}/file`, "p"))).toBe("invalid_image_url");
});

test.each([
  ["/text", "unsupported_image_media_type"],
  ["/error", "failed_to_download_image"],
  ["/gzip", "failed_to_download_image"],
  ["/big", "image_file_too_large"],
  ["/endless", "failed_to_download_image"],
  ["/silent", "failed_to_download_image"],
])("%s is %s", async (path, code) => {
  expect(await codeOf(fetchHere(`http://x.example:${port}${path}`, "p"))).toBe(code);
});

test("slow name servers do not hold anybody longer than the deadline", async () => {
  const slow = createFetchImage({
    limits: testLimits,
    timeoutMs: 100,
    resolve: () => sleep(60_000, [], { ref: false }),
  });
  expect(await codeOf(slow("https://slow.example/a.png", "p"))).toBe("failed_to_download_image");
});

test("one private address among several is enough to refuse", async () => {
  const mixed = createFetchImage({
    limits: testLimits,
    timeoutMs: 500,
    resolve: async () => ["93.184.216.34", "10.0.0.1"],
  });
  expect(await codeOf(mixed("https://mixed.example/a.png", "p"))).toBe("invalid_image_url");
});

test("no spelling of an address inside reaches anything", async () => {
  let connects = 0;
  const canaries = await Promise.all(
    ["127.0.0.1", "::1"].map(async (host) => {
      const canary = createTcpServer((socket) => {
        connects++;
        socket.destroy();
      });
      await new Promise<void>((resolve, reject) =>
        canary.once("error", reject).listen(0, host, resolve),
      );
      return canary;
    }),
  );
  const ports = canaries.map((canary) => (canary.address() as AddressInfo).port);
  const hosts = [
    ..."127.0.0.1 2130706433 0x7f.1 0x7f000001 0177.0.0.1 127.1 0 0.0.0.0 localhost localhost. LOCALHOST a.localhost".split(
      " ",
    ),
    ..."[::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [64:ff9b::7f00:1] [2002:7f00:1::] [fe80::1] [fd00:ec2::254]".split(
      " ",
    ),
    ..."169.254.169.254 168.63.129.16 100.64.0.1 100.100.100.200 10.0.0.1 172.16.0.1 192.168.1.1 224.0.0.1 ①②⑦.0.0.1".split(
      " ",
    ),
  ];
  const urls = hosts.flatMap((host) =>
    ports.map((canaryPort) => `http://${host}:${canaryPort}/a.png`),
  );
  const both = createFetchImage({
    limits: testLimits,
    timeoutMs: 300,
    protocols: ["http:", "https:"],
  });
  for (const url of urls) {
    for (const spelling of [
      url,
      url.replace("http:", "https:"),
      url.replace("//", "//user@"),
      url.replaceAll("/", "\\"),
    ]) {
      const code = await codeOf(both(spelling, "p"));
      expect(["invalid_image_url", "failed_to_download_image"], spelling).toContain(code);
    }
  }
  // Proof that a connection would have been seen.
  const open = createFetchImage({
    limits: testLimits,
    timeoutMs: 300,
    protocols: ["http:"],
    isAllowed: () => true,
  });
  await codeOf(open(`http://127.0.0.1:${ports[0]}/a.png`, "p"));
  expect(connects).toBe(1);
  for (const canary of canaries) canary.close();
});

test("public means reachable by anybody", () => {
  for (const address of ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "1.1.1.1"])
    expect(isPublicAddress(address)).toBe(true);
  for (const address of [
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "5f00::1",
    "3fff::1",
    "fec0::1",
    "2001:db8::1",
    "nonsense",
    "",
  ]) {
    expect(isPublicAddress(address), address).toBe(false);
  }
});
