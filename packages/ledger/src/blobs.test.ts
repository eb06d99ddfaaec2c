import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

test("bytes come back as they were, and live longer when they are put again", async () => {
  const { blobs, redis, keys } = open;
  const bytes = Uint8Array.from({ length: 512 }, (_, i) => i % 256);
  const digest = createHash("sha256").update(bytes).digest("hex");
  await blobs.put(digest, bytes);
  expect(Buffer.from(bytes).equals((await blobs.get(digest))!)).toBe(true);
  await redis.expire(keys.blob("0", digest), 10);
  await blobs.put(digest, bytes);
  expect(await redis.ttl(keys.blob("0", digest))).toBeGreaterThan(3_000);
  expect(await blobs.get("0".repeat(64))).toBeNull();
});
