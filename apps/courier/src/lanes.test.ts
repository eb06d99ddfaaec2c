import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLanes } from "./lanes.ts";
import type { Sent } from "./send.ts";

const sent = (status: number | null): Sent => ({
  tried: {
    at: new Date(0).toISOString(),
    status,
    error: status === 200 ? null : "bad_status",
    latency_ms: 1,
    answer: "",
  },
  retryAfterMs: null,
});
const limits = { perLane: 2, perHost: 3, troubles: 2, closedMs: 50, maxClosedMs: 50 };
const message = (host: string) => ({ id: "m", url: `https://${host}/`, body: "", secrets: [] });

/** A send whose answers are given by hand. */
function byHand() {
  const waiting: ((status: number | null) => void)[] = [];
  const send = () =>
    new Promise<Sent>((resolve) => waiting.push((status) => resolve(sent(status))));
  return { waiting, lanes: createLanes(send, limits) };
}

test("a lane has its places and as many to wait in; others have theirs", async () => {
  const { waiting, lanes } = byHand();
  const four = Array.from({ length: 4 }, () => lanes("a", message("a.example")));
  expect(await lanes("a", message("a.example"))).toBeNull();
  expect(waiting).toHaveLength(2);
  const other = lanes("b", message("b.example"));
  for (let i = 0; i < 5; i++) {
    await sleep(1);
    waiting[i]?.(200);
  }
  expect(await Promise.all([...four, other])).toEqual(Array(5).fill(sent(200)));
});

test("lanes to one host share its places", async () => {
  const { waiting, lanes } = byHand();
  const three = ["a", "a", "b"].map((name) => lanes(name, message("host.example")));
  await sleep(1);
  expect(await lanes("c", message("host.example"))).toBeNull();
  for (const answer of waiting) answer(200);
  await Promise.all(three);
  const again = lanes("c", message("host.example"));
  await sleep(1);
  waiting.at(-1)?.(200);
  expect(await again).toEqual(sent(200));
});

test("who is in trouble is left alone for a while, and then asked by one only", async () => {
  const { waiting, lanes } = byHand();
  for (let i = 0; i < limits.troubles; i++) {
    const one = lanes("a", message("a.example"));
    await sleep(1);
    waiting[i]?.(null);
    await one;
  }
  expect(await lanes("a", message("a.example"))).toBeNull();
  await sleep(limits.closedMs * 2);
  const probe = lanes("a", message("a.example"));
  await sleep(1);
  expect(await lanes("a", message("a.example"))).toBeNull();
  waiting.at(-1)?.(200);
  expect(await probe).toEqual(sent(200));
  const after = lanes("a", message("a.example"));
  await sleep(1);
  waiting.at(-1)?.(200);
  expect(await after).toEqual(sent(200));
});
