/** API keys in Redis: only a key's SHA-256 is kept. Knows neither HTTP nor who may manage keys. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { ApiKey, CreatedApiKey, NewApiKey } from "@glimpse/contracts";
import { apiKey, scopes } from "@glimpse/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import type { Keys } from "./keys.ts";

/** A key as it is kept. Scopes of later releases mean nothing here. */
const storedKey = apiKey.extend({
  scopes: z.array(z.string()).transform((all) => scopes.filter((scope) => all.includes(scope))),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type StoredKey = z.infer<typeof storedKey>;

/** `glk_`, the id, and 192 random bits: 68 characters. The random bits need no slow hash, unlike a password. */
const form = /^glk_([0-9a-f]{16})_[0-9a-f]{48}$/;

export type ApiKeys = ReturnType<typeof createApiKeys>;

/** The id inside a text that looks like a key, or null. */
export function apiKeyIdOf(text: string): string | null {
  return form.exec(text)?.[1] ?? null;
}

/** Whether `text` is this key, whole; takes as long for every text of its form. */
export function isSameKey({ sha256 }: StoredKey, text: string): boolean {
  return timingSafeEqual(Buffer.from(sha256, "hex"), hash(text));
}

/** Whether the key can be used at `now`. */
export function isLive({ expires_at, revoked_at }: ApiKey, now = Date.now()): boolean {
  return revoked_at === null && (expires_at === null || now < Date.parse(expires_at));
}

/** All keys, in one hash: there are as many as there are programs that ask, not as many as jobs. */
export function createApiKeys(redis: Redis, keys: Keys) {
  return {
    /** Makes a key. The result is the only place where it ever stands in full. */
    async create({ name, tenant, expires_at, ...wanted }: NewApiKey): Promise<CreatedApiKey> {
      const id = randomBytes(8).toString("hex");
      const key = `glk_${id}_${randomBytes(24).toString("hex")}`;
      const made: ApiKey = {
        id,
        object: "key",
        name,
        tenant,
        scopes: [...new Set(wanted.scopes)],
        created_at: new Date().toISOString(),
        expires_at: expires_at === null ? null : new Date(expires_at).toISOString(),
        revoked_at: null,
      };
      await write({ ...made, sha256: hash(key).toString("hex") });
      return { ...made, key };
    },

    /** The key of this id, live or not. */
    read,

    /** All keys, newest first. */
    async list(): Promise<ApiKey[]> {
      const stored = await redis.hvals(keys.apiKeys);
      return stored
        .map((json) => shown(storedKey.parse(JSON.parse(json))))
        .toSorted((a, b) => b.created_at.localeCompare(a.created_at));
    },

    /** Ends a key for good; null when there is none of this id. Revoking again changes nothing. */
    async revoke(id: string): Promise<ApiKey | null> {
      const stored = await read(id);
      if (stored === null) return null;
      const revoked = { ...stored, revoked_at: stored.revoked_at ?? new Date().toISOString() };
      await write(revoked);
      return shown(revoked);
    },
  };

  async function read(id: string): Promise<StoredKey | null> {
    const json = await redis.hget(keys.apiKeys, id);
    return json === null ? null : storedKey.parse(JSON.parse(json));
  }

  async function write(stored: StoredKey): Promise<void> {
    await redis.hset(keys.apiKeys, stored.id, JSON.stringify(stored));
  }
}

function shown({ sha256: _, ...key }: StoredKey): ApiKey {
  return key;
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
