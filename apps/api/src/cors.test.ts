import { afterAll, beforeAll, expect, test } from "vitest";
import { openTestApp } from "./testing.ts";

let open: Awaited<ReturnType<typeof openTestApp>>;
beforeAll(async () => {
  open = await openTestApp({ corsOrigins: ["https://friend.example"] });
});
afterAll(() => open.close());

const from = (origin: string, method = "GET") =>
  open.app.request("/v1/models", {
    method,
    headers: { Origin: origin, "Access-Control-Request-Method": "GET" },
  });
const allowed = "access-control-allow-origin";

test("a page of a named origin may read answers, refusals and our headers", async () => {
  const { headers } = await from("https://friend.example");
  expect(headers.get(allowed)).toBe("https://friend.example");
  expect(headers.get("vary")).toContain("Origin");
  expect(headers.get("access-control-expose-headers")).toContain("X-Request-Id");
  expect(headers.get("access-control-allow-credentials")).toBeNull();
  const refused = await open.app.request("/v1/nothing", {
    headers: { Origin: "https://friend.example" },
  });
  expect(refused.headers.get(allowed)).toBe("https://friend.example");
});

test("and may ask before it asks", async () => {
  const { status, headers } = await from("https://friend.example", "OPTIONS");
  expect(status).toBe(204);
  expect(headers.get("access-control-allow-headers")).toContain("Authorization");
});

test.each([
  "https://evil.example",
  "https://friend.example.evil.example",
  "http://friend.example",
  "https://friend.example:444",
  "null",
])("a page of %s may not", async (origin) => {
  expect((await from(origin)).headers.get(allowed)).toBeNull();
  const asked = await from(origin, "OPTIONS");
  expect(asked.headers.get(allowed)).toBeNull();
  expect(asked.status).toBe(405);
});

test("every answer has the headers that browsers are told to be careful with", async () => {
  for (const path of ["/v1/models", "/v1/nothing", "/", "/openapi.json"]) {
    const { headers } = await open.app.request(path);
    expect(headers.get("x-content-type-options"), path).toBe("nosniff");
    expect(headers.get("content-security-policy"), path).toContain("frame-ancestors 'none'");
    expect(headers.get("referrer-policy"), path).toBe("no-referrer");
    expect(headers.get("x-request-id"), path).not.toBeNull();
    expect(headers.get("x-powered-by"), path).toBeNull();
  }
});
