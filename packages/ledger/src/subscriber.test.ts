import { afterEach, beforeEach, expect, test } from "vitest";
import { openTestLedger } from "./testing.ts";
import type { TestLedger } from "./testing.ts";

let open: TestLedger;
beforeEach(async () => {
  open = await openTestLedger();
});
afterEach(() => open.close());

test("a channel is subscribed while somebody listens", async () => {
  const { redis, subscriber, prefix } = open;
  const channel = `${prefix}:x`;
  const heard: string[] = [];
  const first = await subscriber.subscribe(channel, (message) => heard.push(`1${message}`));
  const second = await subscriber.subscribe(channel, (message) => heard.push(`2${message}`));
  expect(await redis.publish(channel, "a")).toBe(1);
  await expect.poll(() => heard).toEqual(["1a", "2a"]);
  first();
  first();
  expect(await redis.publish(channel, "b")).toBe(1);
  await expect.poll(() => heard).toEqual(["1a", "2a", "2b"]);
  second();
  const again = subscriber.subscribe(channel, (message) => heard.push(`3${message}`));
  (await again)();
  await expect.poll(() => redis.publish(channel, "c")).toBe(0);
  expect(heard).toEqual(["1a", "2a", "2b"]);
});

test("after a lost connection it listens again and says that something may be missing", async () => {
  const { redis, subscriber, prefix } = open;
  const channel = `${prefix}:y`;
  const heard: (string | null)[] = [];
  await subscriber.subscribe(channel, (message) => heard.push(message));
  open.listening.disconnect(true);
  await expect.poll(() => heard).toEqual([null]);
  await redis.publish(channel, "after");
  await expect.poll(() => heard).toEqual([null, "after"]);
});

test("a family of channels is heard without subscribing to any, also after a lost connection", async () => {
  const { redis, subscriber, prefix, listening } = open;
  await expect.poll(() => subscriber.isReady).toBe(true);
  subscriber.subscribeFamily(`${prefix}:f`);
  const heard: (string | null)[] = [];
  const stop = await subscriber.subscribe(`${prefix}:f1`, (message) => heard.push(message));
  expect((await redis.pubsub("NUMSUB", `${prefix}:f1`))[1]).toBe(0);
  await redis.publish(`${prefix}:f1`, "a");
  await redis.publish(`${prefix}:f2`, "not listened to");
  await expect.poll(() => heard).toEqual(["a"]);
  listening.disconnect(true);
  await expect.poll(() => heard).toEqual(["a", null]);
  await redis.publish(`${prefix}:f1`, "b");
  await expect.poll(() => heard).toEqual(["a", null, "b"]);
  stop();
  await subscriber.subscribe(`${prefix}:f2`, (message) => heard.push(message));
  await redis.publish(`${prefix}:f1`, "c");
  await redis.publish(`${prefix}:f2`, "d");
  await expect.poll(() => heard).toEqual(["a", null, "b", "d"]);
});

test("where Redis allows no patterns, a family's channels are subscribed one by one", async () => {
  const { redis, subscriber, prefix, listening } = open;
  await expect.poll(() => subscriber.isReady).toBe(true);
  listening.psubscribe = () => Promise.reject(new Error("NOPERM no channel access"));
  subscriber.subscribeFamily(`${prefix}:f`);
  await expect(subscriber.subscribe(`${prefix}:f1`, () => {})).rejects.toThrow("NOPERM");
  const heard: (string | null)[] = [];
  await subscriber.subscribe(`${prefix}:f1`, (message) => heard.push(message));
  expect(await redis.publish(`${prefix}:f1`, "a")).toBe(1);
  await expect.poll(() => heard).toEqual(["a"]);
});
