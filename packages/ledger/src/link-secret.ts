/** The secret that signs links, shared by all processes through Redis. */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import type { Keys } from "./keys.ts";

/** How long a secret that was read is used: a Redis that has lost its data makes a new one. */
const readAgainMs = 10_000;

/** Returns how to get the secret's bytes, made by whoever asks first. */
export function createReadLinkSecret(redis: Redis, keys: Keys): () => Promise<Uint8Array> {
  let known: { secret: Uint8Array; until: number } | undefined;
  return async function readLinkSecret() {
    if (known !== undefined && performance.now() < known.until) return known.secret;
    await redis.set(keys.linkSecret, randomBytes(32).toString("hex"), "NX");
    const secret = Buffer.from((await redis.get(keys.linkSecret)) ?? "", "hex");
    if (secret.length !== 32) throw new Error("the secret of signed links is damaged");
    known = { secret, until: performance.now() + readAgainMs };
    return secret;
  };
}
