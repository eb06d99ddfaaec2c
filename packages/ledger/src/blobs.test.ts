import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDirectoryStore } from "./blob-directory.ts";
import { createRedisStore } from "./blob-redis.ts";
import { createS3Store } from "./blob-s3.ts";
import type { Blobs, BlobStore } from "./blobs.ts";
import { createBlobs } from "./blobs.ts";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";
import type { S3Server } from "./testing-s3.ts";
import { startS3Server } from "./testing-s3.ts";

let open: TestLedger;
let folder: string;
let s3: S3Server | string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "glimpse-blobs-"));
  s3 = await startS3Server();
}, 900_000);
beforeEach(async () => {
  open = await openTestLedger();
});
afterEach(() => open.close());
afterAll(async () => {
  await rm(folder, { recursive: true });
  if (typeof s3 !== "string") await s3.stop();
});

const shard = "0";
const picture = (size = 700) => {
  const bytes = new Uint8Array(randomBytes(size));
  return { bytes, digest: createHash("sha256").update(bytes).digest("hex") };
};
const blobsOn = (store: BlobStore, budgetBytes = 1_000_000_000): Blobs =>
  createBlobs(open.redis, store, open.keys, { shard, budgetBytes });
const redisStore = () =>
  createRedisStore(open.redis, open.redis, open.keys, { shard, ttlS: 3_600 });

/** Records a job that asks about these pictures. */
async function submit(...digests: string[]): Promise<string> {
  const content = digests.map((digest) => ({ type: "image" as const, digest }));
  const input = { messages: [{ role: "user" as const, content }], options: {} };
  const served = { model: "nano", version: "nano@1" };
  const job = { ...served, tenant: "default", input, metadata: {} };
  return (await open.ledger.submit(job)).id;
}

/** The time to look at every picture has come. */
async function comeTime(): Promise<void> {
  const index = open.keys.blobs(shard);
  for (const digest of await open.redis.zrange(index, "0", "-1"))
    await open.redis.zadd(index, 0, digest);
}
const total = async () => Number(await open.redis.get(open.keys.blobTotal(shard)));

const stores: Record<string, () => BlobStore | string> = {
  redis: redisStore,
  "a folder": () => createDirectoryStore(folder),
  s3: () => (typeof s3 === "string" ? s3 : createS3Store(s3.bucket)),
};

describe.each(Object.keys(stores))("in %s", (name) => {
  test("pictures come back as they were, stay while a job needs them, and go with the last", async (context) => {
    const store = stores[name]!();
    if (typeof store === "string") return context.skip(store);
    const blobs = blobsOn(store);
    const [kept, lonely] = [picture(300_000), picture()];
    await blobs.put(kept.digest, kept.bytes);
    await blobs.put(kept.digest, kept.bytes);
    await blobs.put(lonely.digest, lonely.bytes);
    expect(await total()).toBe(300_700);
    expect(Buffer.from(kept.bytes).equals((await blobs.get(kept.digest))!)).toBe(true);
    expect(await blobs.get("0".repeat(64))).toBeNull();
    expect(await blobs.sweep(), "nobody had time to ask about them").toBe(0);

    const [first, second] = [await submit(kept.digest), await submit(kept.digest, kept.digest)];
    // However long it waits and runs, and whatever comes after it.
    const heldS = await open.redis.ttl(open.keys.blobHolders(shard, kept.digest));
    expect(heldS).toBeGreaterThan(86_400 + 3_600);
    await comeTime();
    expect(await blobs.sweep()).toBe(1);
    expect(await blobs.get(lonely.digest)).toBeNull();
    await open.redis.del(open.keys.job(first));
    await comeTime();
    expect(await blobs.sweep()).toBe(0);
    expect(await blobs.get(kept.digest)).not.toBeNull();
    await open.ledger.cancel(second, "default");
    await open.ledger.delete(second, "default");
    await comeTime();
    expect(await blobs.sweep()).toBe(1);
    expect(await blobs.get(kept.digest)).toBeNull();
    expect(await total()).toBe(0);
  });

  test("what is put again while it is removed is not lost", async (context) => {
    const store = stores[name]!();
    if (typeof store === "string") return context.skip(store);
    const { digest, bytes } = picture();
    // The sweeper is slow: the same picture comes again before the old bytes are removed.
    const slow: BlobStore = {
      ...store,
      async delete(doomed) {
        await blobsOn(store).put(digest, bytes);
        await submit(digest);
        await store.delete(doomed);
      },
    };
    await blobsOn(store).put(digest, bytes);
    await comeTime();
    expect(await blobsOn(slow).sweep()).toBe(1);
    expect(Buffer.from(bytes).equals((await blobsOn(store).get(digest))!)).toBe(true);
  });

  test("bytes that vanished are stored again, and removing what is not there does nothing", async (context) => {
    const store = stores[name]!();
    if (typeof store === "string") return context.skip(store);
    const { digest, bytes } = picture();
    await blobsOn(store).put(digest, bytes);
    const kept = (await open.redis.hget(open.keys.blob(shard, digest), "name"))!;
    await store.delete(kept);
    await store.delete(kept);
    expect(await blobsOn(store).get(digest)).toBeNull();
    await blobsOn(store).put(digest, bytes);
    expect(await blobsOn(store).get(digest)).not.toBeNull();
  });
});

test("over the budget nothing is taken until something goes", async () => {
  const [small, big] = [picture(100), picture(1_000)];
  const blobs = blobsOn(redisStore(), 1_000);
  await blobs.put(small.digest, small.bytes);
  await expect(blobs.put(big.digest, big.bytes)).rejects.toMatchObject({ reason: "full" });
  await comeTime();
  await blobs.sweep();
  await blobs.put(big.digest, big.bytes);
  await blobs.put(big.digest, big.bytes);
});

test("what a killed process had begun to write goes too", async () => {
  const { digest, bytes } = picture();
  const under = join(folder, digest.slice(0, 2));
  const blobs = blobsOn({
    ...createDirectoryStore(folder),
    async put(name) {
      await mkdir(under, { recursive: true });
      await writeFile(join(under, `${name}.0.part`), "half");
      throw new Error("killed");
    },
  });
  await expect(blobs.put(digest, bytes)).rejects.toThrow("killed");
  expect(await readdir(under)).toHaveLength(1);
  await comeTime();
  await blobs.sweep();
  expect(await readdir(under)).toEqual([]);
  expect(await total()).toBe(0);
});

test("a folder that cannot be written and a bucket that is not there say so", async () => {
  const { digest, bytes } = picture();
  const elsewhere = createDirectoryStore("/dev/null/pictures");
  await expect(elsewhere.put(digest, bytes)).rejects.toMatchObject({ reason: "unavailable" });
  const nowhere = {
    bucket: "none",
    prefix: "",
    region: "us-east-1",
    endpoint: "http://127.0.0.1:1",
  };
  const refused = createS3Store(nowhere);
  await expect(refused.put(digest, bytes)).rejects.toMatchObject({ reason: "unavailable" });
  await expect(refused.get(digest)).rejects.toMatchObject({ reason: "unavailable" });
});

test("a full disk is told apart, and nothing is left of what did not fit", async (context) => {
  const disk = join(folder, "disk");
  await mkdir(disk);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
  if (mounted.status !== 0) return context.skip("a small disk cannot be mounted here");
  try {
    const store = createDirectoryStore(disk);
    const [fits, big] = [picture(1_000), picture(200_000)];
    await store.put(fits.digest, fits.bytes);
    await expect(store.put(big.digest, big.bytes)).rejects.toMatchObject({ reason: "full" });
    expect(await store.has(big.digest)).toBe(false);
    expect(await readdir(join(disk, big.digest.slice(0, 2)))).toEqual([]);
    expect(await store.get(fits.digest)).toHaveLength(1_000);
  } finally {
    spawnSync("umount", [disk]);
  }
});
