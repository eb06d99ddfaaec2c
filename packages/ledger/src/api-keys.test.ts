import { afterAll, beforeAll, expect, test } from "vitest";
import { apiKeyIdOf, createApiKeys, isLive, isSameKey } from "./api-keys.ts";
import { createAuditLog } from "./audit.ts";
import { createReadLinkSecret } from "./link-secret.ts";
import type { TestLedger } from "./testing.ts";
import { openTestLedger } from "./testing.ts";

let open: TestLedger;
let apiKeys: ReturnType<typeof createApiKeys>;
beforeAll(async () => {
  open = await openTestLedger();
  apiKeys = createApiKeys(open.redis, open.keys);
});
afterAll(() => open.close());

const wanted = { name: "ci", tenant: "acme", scopes: ["jobs:read" as const], expires_at: null };

test("a key is shown once and kept as its hash", async () => {
  const { key, ...made } = await apiKeys.create(wanted);
  expect(apiKeyIdOf(key)).toBe(made.id);
  expect(made).toMatchObject({ tenant: "acme", scopes: ["jobs:read"], revoked_at: null });
  const { sha256, ...shown } = (await apiKeys.read(made.id))!;
  expect(shown).toEqual(made);
  expect(isSameKey({ ...shown, sha256 }, key)).toBe(true);
  const kept = JSON.stringify(await open.redis.hgetall(open.keys.apiKeys));
  expect(kept).toContain(made.id);
  expect(kept).not.toContain(key.slice(-48));
});

test("two keys share nothing, and no other text is the key", async () => {
  const [one, other] = await Promise.all([apiKeys.create(wanted), apiKeys.create(wanted)]);
  expect(one.key).not.toBe(other.key);
  const stored = (await apiKeys.read(one.id))!;
  const last = one.key.endsWith("0") ? "1" : "0";
  for (const text of [other.key, `${one.key.slice(0, -1)}${last}`, one.key.toUpperCase(), ""]) {
    expect(isSameKey(stored, text)).toBe(false);
  }
});

test.each(["", "glk_", "glk_0123456789abcdef", `glk_0123456789ABCDEF_${"0".repeat(48)}`])(
  "%j does not look like a key",
  (text) => expect(apiKeyIdOf(text)).toBeNull(),
);

test("a key ends when it expires or is revoked, and not again", async () => {
  const at = new Date(Date.now() + 60_000).toISOString();
  const { id } = await apiKeys.create({ ...wanted, expires_at: at });
  const stored = (await apiKeys.read(id))!;
  expect([isLive(stored), isLive(stored, Date.parse(at))]).toEqual([true, false]);
  const revoked = (await apiKeys.revoke(id))!;
  expect(isLive(revoked)).toBe(false);
  expect(revoked).not.toHaveProperty("sha256");
  expect(await apiKeys.revoke(id)).toEqual(revoked);
  expect(await apiKeys.revoke("0".repeat(16))).toBeNull();
  expect((await apiKeys.list()).find((key) => key.id === id)).toEqual(revoked);
});

test("the audit log is read from its newest entry on, page by page", async () => {
  const audit = createAuditLog(open.redis, open.keys);
  const entry = {
    at: new Date().toISOString(),
    action: "POST /v1/admin/keys",
    target: null,
    status: 201,
    tenant: "acme",
    key: null,
    address: null,
    request_id: "r",
  };
  for (const target of ["a", "b", "c"]) await audit.record({ ...entry, target });
  const first = await audit.list(2, null);
  expect(first.entries.map(({ target }) => target)).toEqual(["c", "b"]);
  const rest = await audit.list(2, first.next);
  expect(rest.entries.map(({ target }) => target)).toEqual(["a"]);
  expect(rest.next).toBeNull();
});

test("whoever asks first makes the secret of links, and all have the same", async () => {
  const readers = Array.from({ length: 5 }, () => createReadLinkSecret(open.redis, open.keys));
  const secrets = await Promise.all(readers.map((read) => read()));
  expect(new Set(secrets.map((secret) => Buffer.from(secret).toString("hex"))).size).toBe(1);
  expect(secrets[0]).toHaveLength(32);
});
