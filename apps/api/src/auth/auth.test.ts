// Keys and links from their making to their end, and what is written down about it.
import { apiKeyList, auditList, createdApiKey, type Scope, signedLinks } from "@glimpse/contracts";
import { createLogger } from "@glimpse/telemetry";
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readConfig } from "../config.ts";
import { openTestApp } from "../testing.ts";
import { createAuth } from "./create-auth.ts";
import { createCheckKey } from "./check-key.ts";

type Open = Awaited<ReturnType<typeof openTestApp>>;
let open: Open;
let admin: string;

/** Everything that was logged, as text. */
let logged = "";
const log = createLogger("test", "trace", { write: (line) => (logged += line) });

beforeAll(async () => {
  open = await openTestApp({ log }, { AUTH: "keys" });
  admin = (await made("root", ["admin"])).key;
});
afterAll(() => open.close());

function made(tenant: string, scopes: Scope[]) {
  return open.apiKeys.create({ name: "test", tenant, scopes, expires_at: null });
}

async function call(method: string, path: string, key: string | null, body?: unknown) {
  return open.app.request(path, {
    method,
    headers: {
      ...(key !== null && { Authorization: `Bearer ${key}` }),
      ...(body !== undefined && { "Content-Type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

async function submitted(key: string): Promise<{ id: string; links: { self: string } }> {
  const response = await call("POST", "/v1/jobs", key, { prompt: "What?" });
  expect(response.status).toBe(202);
  return (await response.json()) as { id: string; links: { self: string } };
}

describe("the admin API", () => {
  const wanted = { name: "ci", tenant: "acme", scopes: ["jobs:read", "jobs:write"] };

  test("makes a key that works at once, shows it once, and ends it within a second", async () => {
    const response = await call("POST", "/v1/admin/keys", admin, wanted);
    expect(response.status).toBe(201);
    expect(response.headers.get("cache-control")).toBe("no-store");
    const { key, ...shown } = createdApiKey.parse(await response.json());
    await submitted(key);

    const list = await (await call("GET", "/v1/admin/keys", admin)).text();
    expect(apiKeyList.parse(JSON.parse(list)).data).toContainEqual(shown);
    expect(list).not.toMatch(/sha256|glk_/);

    const path = `/v1/admin/keys/${shown.id}`;
    const at = performance.now();
    expect((await call("DELETE", path, admin)).status).toBe(200);
    await vi.waitFor(async () => expect((await call("GET", "/v1/jobs", key)).status).toBe(401), {
      timeout: 1_000,
      interval: 20,
    });
    expect(performance.now() - at).toBeLessThan(1_000);
  });

  test.each([
    [{ ...wanted, tenant: "a:b" }, "invalid_request", "tenant"],
    [{ ...wanted, scopes: [] }, "invalid_request", "scopes"],
    [{ ...wanted, scopes: ["root"] }, "invalid_request", "scopes.0"],
    [{ ...wanted, expires_at: "2020-01-01T00:00:00Z" }, "invalid_request", "expires_at"],
    [{ ...wanted, expires_at: "soon" }, "invalid_request", "expires_at"],
    [{ ...wanted, name: "a\nb" }, "invalid_request", "name"],
    [{ ...wanted, id: "0" }, "unknown_field", "id"],
  ])("refuses %j", async (body, code, param) => {
    const response = await call("POST", "/v1/admin/keys", admin, body);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code, param });
  });

  test("knows no key that is not there", async () => {
    for (const id of ["0".repeat(16), "x", "%00"]) {
      const response = await call("DELETE", `/v1/admin/keys/${id}`, admin);
      expect(await response.json()).toMatchObject({ status: 404, code: "key_not_found" });
    }
  });

  test("keeps what was done and by whom, page by page, and what was refused in the log only", async () => {
    const mine = await made("auditor", ["admin"]);
    const { id } = createdApiKey.parse(
      await (await call("POST", "/v1/admin/keys", mine.key, wanted)).json(),
    );
    await call("DELETE", `/v1/admin/keys/${id}`, mine.key);
    await call("DELETE", `/v1/admin/keys/${"0".repeat(16)}`, mine.key);
    const user = await made("acme", ["jobs:write"]);
    expect((await call("POST", "/v1/admin/keys", user.key, wanted)).status).toBe(403);

    const first = auditList.parse(
      await (await call("GET", "/v1/admin/audit?limit=2", mine.key)).json(),
    );
    const rest = await call("GET", `/v1/admin/audit?cursor=${first.next_cursor}`, mine.key);
    const entries = [...first.data, ...auditList.parse(await rest.json()).data];
    const own = entries.filter(({ key }) => key === mine.id);
    expect(own).toMatchObject([
      { action: "DELETE /v1/admin/keys/:id", target: "0".repeat(16), status: 404 },
      { action: "DELETE /v1/admin/keys/:id", target: id, status: 200 },
      { action: "POST /v1/admin/keys", target: id, status: 201, tenant: "auditor" },
    ]);
    expect(entries.map(({ key }) => key)).not.toContain(user.id);
    expect(logged).toContain('"action":"POST /v1/admin/keys"');
    expect(logged).toContain(`"user":{"id":"${mine.id}"}`);
    expect((await call("GET", "/v1/admin/audit?cursor=x", mine.key)).status).toBe(422);
  });
});

describe("a signed link", () => {
  test("reads one job and follows it, for a while, and nothing else", async () => {
    const owner = (await made("acme", ["jobs:read", "jobs:write"])).key;
    const [job, other] = [await submitted(owner), await submitted(owner)];
    const links = signedLinks.parse(
      await (await call("POST", `${job.links.self}/links`, owner, { expires_in_s: 60 })).json(),
    );
    expect(Date.parse(links.expires_at) - Date.now()).toBeLessThanOrEqual(60_000);
    const read = await call("GET", links.self, null);
    expect(await read.json()).toMatchObject({ id: job.id });
    expect(read.headers.get("cache-control")).toBe("private, no-cache");
    await open.ledger.cancel(job.id, "acme");
    const events = await call("GET", links.events, null);
    expect(await events.text()).toContain("event: canceled");

    const token = links.self.split("?")[1]!;
    const changed = `${token.slice(0, -5)}${token.at(-5) === "A" ? "B" : "A"}${token.slice(-4)}`;
    const elsewhere = [
      ["GET", `${other.links.self}?${token}`],
      ["GET", `${job.links.self}/events?${token}`],
      ["GET", `/v1/jobs?${token}`],
      ["GET", `/v1/admin/keys?${token}`],
      ["DELETE", `${job.links.self}?${token}`],
      ["POST", `${job.links.self}/cancel?${token}`],
      ["POST", `${job.links.self}/links?${token}`],
      ["GET", `${job.links.self}?${changed}`],
      ["GET", `${job.links.self}?token=`],
      ["GET", `${job.links.self}?token=a.b.c`],
    ] as const;
    for (const [method, path] of elsewhere) {
      expect((await call(method, path, null)).status, `${method} ${path}`).toBe(401);
    }
  });

  test("ends when it says, and with the key it was made with", async () => {
    const owner = await made("acme", ["jobs:read", "jobs:write"]);
    const job = await submitted(owner.key);
    const link = async (body?: object) =>
      signedLinks.parse(
        await (await call("POST", `${job.links.self}/links`, owner.key, body)).json(),
      ).self;
    const [short, long] = [await link({ expires_in_s: 1 }), await link()];
    expect((await call("GET", short, null)).status).toBe(200);
    await vi.waitFor(async () => expect((await call("GET", short, null)).status).toBe(401), {
      timeout: 3_000,
      interval: 100,
    });
    expect((await call("GET", long, null)).status).toBe(200);
    await open.apiKeys.revoke(owner.id);
    await vi.waitFor(async () => expect((await call("GET", long, null)).status).toBe(401), {
      timeout: 1_000,
      interval: 20,
    });
  });

  test("is good on every process that has the same secret", async () => {
    const linksOf = (linkSecret: string) => {
      const { auth } = readConfig({ LINK_SECRET: linkSecret });
      return createAuth(auth, open.apiKeys, () => Promise.reject(new Error("not asked"))).links;
    };
    const expiresAt = new Date(Date.now() + 60_000);
    const link = await linksOf("a".repeat(32)).sign("/x", { tenant: "acme", expiresAt });
    const token = link.split("token=")[1]!;
    const caller = { tenant: "acme", scopes: ["jobs:read"], key: null };
    expect(await linksOf("a".repeat(32)).check("/x", token)).toEqual(caller);
    expect(await linksOf("b".repeat(32)).check("/x", token)).toHaveProperty("refused");
    // Another kind of token with the same secret, if somebody has used that twice.
    const other = await new SignJWT({ path: "/x", tenant: "acme", key: null })
      .setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .setExpirationTime(expiresAt)
      .sign(Buffer.from("a".repeat(32)));
    expect(await linksOf("a".repeat(32)).check("/x", other)).toHaveProperty("refused");
  });
});

describe("without authentication", () => {
  test("everybody may do everything on this machine, whatever they send", async () => {
    const none = await openTestApp();
    for (const headers of [{}, { Authorization: "Bearer anything" }, { Authorization: "x" }]) {
      expect((await none.app.request("/v1/admin/keys", { headers })).status).toBe(200);
    }
    await none.close();
  });

  test("strangers may do everything but manage the service", async () => {
    const none = await openTestApp({}, { HOST: "0.0.0.0", AUTH: "none" });
    expect((await none.app.request("/v1/jobs")).status).toBe(200);
    expect((await none.app.request("/v1/admin/keys")).status).toBe(403);
    await none.close();
  });
});

test("what Redis says of a key is asked once for many requests, and remembered for a bounded number of keys", async () => {
  let asked = 0;
  const real = await made("acme", ["jobs:read"]);
  const { check } = createCheckKey({
    read: (id) => {
      asked++;
      return open.apiKeys.read(id);
    },
  });
  const fake = `glk_${"0".repeat(16)}_${"0".repeat(48)}`;
  const found = await Promise.all(
    Array.from({ length: 100 }, (_, i) => check(i % 2 === 0 ? real.key : fake)),
  );
  expect(asked).toBe(2);
  expect(found[0]).toMatchObject({ tenant: "acme" });
  expect(found[1]).toMatchObject({ refused: "no such key" });
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 20_000; i++) {
    await check(`glk_${i.toString(16).padStart(16, "0")}_${"0".repeat(48)}`);
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
});

test("when Redis does not answer, nobody is let in, and that is no refusal", async () => {
  const checks = [
    createCheckKey({ read: () => Promise.reject(new Error("Command timed out")) }).check,
  ];
  const failing = await openTestApp({ auth: { checks, links: null as never } });
  const headers = { Authorization: `Bearer ${admin}` };
  const response = await failing.app.request("/v1/jobs", { headers });
  expect(await response.json()).toMatchObject({ status: 503, code: "unavailable" });
  await failing.close();
});

test("no key and no token is ever logged, whatever becomes of the request", async () => {
  const { key, id } = await made("acme", ["jobs:read", "jobs:write"]);
  const job = await submitted(key);
  const { self } = signedLinks.parse(
    await (await call("POST", `${job.links.self}/links`, key)).json(),
  );
  const wrong = `${key.slice(0, -1)}${key.endsWith("0") ? "1" : "0"}`;
  await call("GET", "/v1/jobs", wrong);
  await call("GET", "/v1/nothing", key);
  await call("POST", "/v1/jobs", key, { prompt: 1 });
  await call("GET", `${self}x`, null);
  await call("POST", "/v1/admin/keys", key, {});
  expect(logged).toContain(`not the secret of key ${id}`);
  expect(logged).not.toMatch(/glk_[0-9a-f]{16}_/);
  for (const secret of [key.slice(-48), wrong.slice(-48), self.split("token=")[1]!]) {
    expect(logged).not.toContain(secret);
  }
});
