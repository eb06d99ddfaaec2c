import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiError } from "./api-error.ts";
import { createFetchImage } from "./fetch-image.ts";
import { png, testLimits } from "./testing.ts";

const picture = png(16, 16);
let server: Server;
let port: number;

const pages: Record<string, (response: ServerResponse) => void> = {
  "/a.png": (response) => response.end(picture),
  "/identity": (response) =>
    response.writeHead(200, { "content-encoding": "identity" }).end(picture),
  "/once": (response) => response.writeHead(302, { location: "/a.png" }).end(),
  "/loop": (response) => response.writeHead(302, { location: "/loop" }).end(),
  "/inside": (response) => response.writeHead(302, { location: "http://10.0.0.1/a.png" }).end(),
  "/text": (response) => response.writeHead(200, { "content-type": "image/png" }).end("hello"),
  "/error": (response) => response.writeHead(500).end(picture),
  "/part": (response) => response.writeHead(206).end(picture),
  "/gzip": (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(picture),
  "/big": (response) => response.end(Buffer.alloc(testLimits.imageBytes + 1)),
  "/silent": () => {},
};

beforeAll(async () => {
  server = createServer((request, response) => pages[request.url ?? ""]?.(response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Lets this machine's address through, so that there is something to fetch from. */
const fetchImage = createFetchImage({
  limits: testLimits,
  timeoutMs: 300,
  atOnce: 4,
  policy: {
    protocols: ["https:", "http:"],
    ports: "any",
    allow: ["127.0.0.1"],
    resolve: async () => ["127.0.0.1"],
  },
});
const fetchHere = (path: string) =>
  fetchImage(`http://pictures.example:${port}${path}`, "images.0");

test.each(["/a.png", "/identity", "/once"])("%s is a picture", async (path) => {
  const { bytes, digest } = await fetchHere(path);
  expect(Buffer.from(bytes).equals(picture)).toBe(true);
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
});

test.each([
  ["/inside", "invalid_image_url"],
  ["/loop", "failed_to_download_image"],
  ["/text", "unsupported_image_media_type"],
  ["/error", "failed_to_download_image"],
  ["/part", "failed_to_download_image"],
  ["/gzip", "failed_to_download_image"],
  ["/big", "image_file_too_large"],
  ["/silent", "failed_to_download_image"],
])("%s is %s", async (path, code) => {
  const error = await fetchHere(path).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ code, param: "images.0" });
});

test("only so many are fetched at once, twice as many wait, and the rest is told to come again", async () => {
  const crowd = await Promise.allSettled(Array.from({ length: 20 }, () => fetchHere("/silent")));
  const codes = crowd.map((one) =>
    one.status === "rejected" ? (one.reason as ApiError).code : "",
  );
  const count = (code: string) => codes.filter((each) => each === code).length;
  expect([count("failed_to_download_image"), count("overloaded")]).toEqual([12, 8]);
  await expect(fetchHere("/a.png")).resolves.toBeDefined();
});
