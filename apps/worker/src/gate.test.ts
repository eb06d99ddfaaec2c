import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Gate } from "./gate.ts";

const never = new AbortController().signal;

test("many are inside together", async () => {
  const gate = new Gate();
  await Promise.all([gate.enter(never), gate.enter(never), gate.enter(never)]);
  expect(gate.isClosed).toBe(false);
});

test("who is to be alone waits for those inside, and those who come later wait for it", async () => {
  const gate = new Gate();
  const order: string[] = [];
  const first = await gate.enter(never);
  const alone = gate.enterAlone(never).then((leave) => {
    order.push("alone");
    return leave;
  });
  const later = gate.enter(never).then(() => order.push("later"));
  await sleep(5);
  expect([order, gate.isClosed]).toEqual([[], true]);
  first?.();
  const leave = await alone;
  await sleep(5);
  expect(order).toEqual(["alone"]);
  leave?.();
  await later;
  expect([order, gate.isClosed]).toEqual([["alone", "later"], false]);
});

test("no two are ever alone at once, nor anybody beside them: 200 random visits", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  console.log(`seed ${seed}`);
  let state = seed;
  const random = () => (state = (state * 48271 + 1) % 2147483647) / 2147483647;
  const gate = new Gate();
  let [together, alone, most] = [0, 0, 0];
  const visit = async () => {
    await sleep(random() * 40);
    const isAlone = random() < 0.2;
    const leave = await (isAlone ? gate.enterAlone(never) : gate.enter(never));
    if (isAlone) alone++;
    else together++;
    most = Math.max(most, together);
    expect(alone === 0 || (alone === 1 && together === 0)).toBe(true);
    await sleep(random() * 2);
    if (isAlone) alone--;
    else together--;
    leave?.();
  };
  await Promise.all(Array.from({ length: 200 }, visit));
  expect(most).toBeGreaterThan(1);
  expect(gate.isClosed).toBe(false);
});

test("who gives up waiting is not admitted, and holds up nobody", async () => {
  const gate = new Gate();
  const first = await gate.enter(never);
  const impatient = new AbortController();
  const alone = gate.enterAlone(impatient.signal);
  const second = gate.enter(never);
  impatient.abort();
  expect(await alone).toBeNull();
  expect(await second).not.toBeNull();
  expect(await gate.enterAlone(impatient.signal)).toBeNull();
  first?.();
});
