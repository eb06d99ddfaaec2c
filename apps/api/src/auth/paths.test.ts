// Paths as no honest client writes them, sent byte by byte to the real server: none gives more than the plain path does.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createServer } from "../server.ts";
import { openTestApp } from "../testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
let server: ReturnType<typeof createServer>;
let reader: string;
let owner: string;
let job: string;
beforeAll(async () => {
  open = await openTestApp({}, { AUTH: "keys" });
  const limits = { headersTimeoutMs: 5_000, requestTimeoutMs: 5_000, idleTimeoutMs: 5_000 };
  server = createServer(open.app, { ...limits, maxConnections: 1_000 });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const keys = { name: "test", expires_at: null };
  owner = (
    await open.apiKeys.create({ ...keys, tenant: "owner", scopes: ["jobs:read", "jobs:write"] })
  ).key;
  reader = (await open.apiKeys.create({ ...keys, tenant: "stranger", scopes: ["jobs:read"] })).key;
  const body = JSON.stringify({ prompt: "What?", metadata: { mark: "of-the-owner" } });
  const response = await open.app.request("/v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${owner}` },
    body,
  });
  job = ((await response.json()) as { id: string }).id;
});
afterAll(async () => {
  server.close();
  await open.close();
});

async function send(method: string, path: string, headers: string[]): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1");
  const lines = [`${method} ${path} HTTP/1.1`, "Host: a", "Connection: close", ...headers];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  return text(socket);
}

// Spellings that some routers and proxies take for the same path.
const spellings = [
  "//v1/jobs/ID",
  "/v1//jobs/ID",
  "/v1/jobs//ID",
  "/./v1/jobs/ID",
  "/v1/./jobs/ID",
  "/v1/../v1/jobs/ID",
  "/healthz/../v1/jobs/ID",
  "/healthz/..%2Fv1/jobs/ID",
  "/healthz%2F..%2Fv1%2Fjobs%2FID",
  "/samples/%2e%2e/v1/jobs/ID",
  "/v1%2Fjobs%2FID",
  "/v1/jobs%2FID",
  "/%761/jobs/ID",
  "/v1/%6Aobs/ID",
  "/V1/jobs/ID",
  "/v1/JOBS/ID",
  "/v1/jobs/ID/",
  "/v1/jobs/ID%00",
  "/v1/jobs/ID;x=1",
  "/v1/jobs/ID%3Ftoken=x",
  "/v1/jobs/ID?/healthz",
  "/v1/jobs/ID#/healthz",
  "/v1/jobs/ID/events/../../ID",
  "/v1/admin/../jobs/ID",
  "\\v1\\jobs\\ID",
  "/v1/jobs/ID/%2e%2e/ID",
  "/v1/admin%2fkeys",
  "/v1/ADMIN/keys",
  "/v1//admin/keys",
  "/v1/x/../admin/keys",
  "/v1/admin/./keys",
  "/v1/admin/keys/",
  "/healthz/../v1/admin/keys",
  "/openapi.json/../v1/admin/keys",
  "/openapi.json;/../v1/admin/keys",
];

const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

test("the plain path gives its owner the job, and nobody else", async () => {
  const path = `/v1/jobs/${job}`;
  expect(await send("GET", path, [`Authorization: Bearer ${owner}`])).toContain("of-the-owner");
  expect(statusOf(await send("GET", path, [`Authorization: Bearer ${reader}`]))).toBe(404);
  expect(statusOf(await send("GET", path, []))).toBe(401);
});

test.each(spellings)("%s gives nothing", async (spelling) => {
  const path = spelling.replaceAll("ID", job);
  for (const method of ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"]) {
    for (const headers of [[], [`Authorization: Bearer ${reader}`]]) {
      const answer = await send(method, path, headers);
      expect([400, 401, 403, 404, 405], `${method} ${headers.join()}`).toContain(statusOf(answer));
      expect(answer).not.toContain("of-the-owner");
    }
  }
});

test("no header says that another path, method, caller or tenant is meant", async () => {
  const path = `/v1/jobs/${job}`;
  for (const header of [
    `X-Original-URL: ${path}`,
    `X-Rewrite-URL: ${path}`,
    `X-Forwarded-Prefix: ${path}`,
    "X-HTTP-Method-Override: GET",
    "X-Forwarded-For: 127.0.0.1",
    "X-Tenant: owner",
    "X-Forwarded-User: owner",
    "Host: localhost",
  ]) {
    for (const at of ["/healthz", path]) {
      expect(await send("GET", at, [header]), header).not.toContain("of-the-owner");
    }
    expect([400, 401], header).toContain(statusOf(await send("GET", path, [header])));
  }
});
