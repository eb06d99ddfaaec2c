import { afterAll, beforeAll, expect, test } from "vitest";
import { openTestApp } from "./testing.ts";

let local: Awaited<ReturnType<typeof openTestApp>>;
let guarded: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  const publicUrl = "https://glimpse.example:8443/base";
  local = await openTestApp({ corsOrigins: ["https://friend.example"], publicUrl });
  guarded = await openTestApp({}, { AUTH: "keys" });
});
afterAll(async () => {
  await Promise.all([local.close(), guarded.close()]);
});

const evil = { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" };
const form = { method: "POST", body: new URLSearchParams({ prompt: "?" }) };
const navigation = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" };

async function codeOf(at: string, init: RequestInit = {}, { app } = local) {
  const answer = await app.request(at, init);
  return answer.status < 400 ? answer.status : ((await answer.json()) as { code: string }).code;
}

test.each<[string, string, RequestInit]>([
  ["sends a form", "/v1/jobs", { ...form, headers: evil }],
  [
    "sends a form from another port",
    "/v1/jobs",
    { ...form, headers: { "Sec-Fetch-Site": "same-site" } },
  ],
  ["navigates by a form", "/v1/jobs", { ...form, headers: { ...evil, ...navigation } }],
  ["asks before it asks", "/v1/jobs", { method: "OPTIONS", headers: evil }],
  ["reads", "/v1/jobs", { headers: evil }],
  ["shows as a picture", "/v1/jobs", { headers: { "Sec-Fetch-Site": "cross-site" } }],
  [
    "shows in a frame",
    "/v1/jobs",
    { headers: { ...evil, ...navigation, "Sec-Fetch-Dest": "iframe" } },
  ],
  ["deletes", "/v1/jobs/job_0_1", { method: "DELETE", headers: evil }],
  [
    "names another page that is open",
    "/v1/jobs",
    { headers: { ...evil, Origin: "https://friend.example.evil.example" } },
  ],
])("a page elsewhere that %s is refused", async (_what, path, init) => {
  expect(await codeOf(path, init)).toBe("origin_not_allowed");
});

test("so it is where keys are asked for", async () => {
  expect(await codeOf("/v1/jobs", { headers: evil }, guarded)).toBe("origin_not_allowed");
});

test.each<[string, string, Record<string, string>]>([
  ["our own page", "/v1/jobs", { Origin: "http://localhost", "Sec-Fetch-Site": "same-origin" }],
  ["a page that is named", "/v1/jobs", { ...evil, Origin: "https://friend.example" }],
  ["who types the address", "/v1/jobs", { "Sec-Fetch-Site": "none" }],
  ["who follows a link", "/v1/jobs", { "Sec-Fetch-Site": "cross-site", ...navigation }],
  ["who is no browser", "/v1/jobs", {}],
  ["whoever reads what is public", "/openapi.json", evil],
])("%s may read", async (_who, path, headers) => {
  expect(await codeOf(path, { headers })).toBe(200);
});

test.each([
  "http://localhost:8080",
  "http://a.localhost",
  "http://127.0.0.1:8080",
  "http://127.0.0.77",
  "http://[::1]:8080",
  "http://192.168.1.5",
  "https://glimpse.example:8443",
  "http://glimpse.example",
])("an open local address goes by %s", async (origin) => {
  expect(await codeOf(`${origin}/v1/jobs`)).toBe(200);
});

test.each([
  "http://evil.example:8080",
  "http://localhost.evil.example",
  "http://127.0.0.1.evil.example",
  "http://evillocalhost",
  "http://glimpse.example.evil.example",
])("but not by %s, which anybody can point at it", async (origin) => {
  const own = { Origin: origin, "Sec-Fetch-Site": "same-origin" };
  expect(await codeOf(`${origin}/v1/jobs`, { headers: own })).toBe("origin_not_allowed");
  expect(await codeOf(`${origin}/v1/jobs`, { ...form, headers: own })).toBe("origin_not_allowed");
  expect(await codeOf(`${origin}/healthz`)).toBe(200);
  expect(await codeOf(`${origin}/v1/jobs`, {}, guarded)).toBe("unauthenticated");
});
