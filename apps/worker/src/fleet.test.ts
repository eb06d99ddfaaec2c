// A fleet of small programs that do what their card says.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { createLogger } from "@glimpse/telemetry";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Death, Fleet, FleetOptions } from "./fleet.ts";
import { startFleet } from "./fleet.ts";

const script = `
  const [what, word] = process.env.CUDA_VISIBLE_DEVICES.split("-");
  const report = (ended) => process.send({ running: 0, ended, card: process.env.CUDA_VISIBLE_DEVICES });
  setInterval(() => {}, 1000);
  if (what === "boot") process.exit(Number(word));
  report(what === "works" ? 1 : 0);
  if (what === "works" || what === "dies") setTimeout(() => process.kill(process.pid, word), 20);
  if (what === "exits") setTimeout(() => process.exit(Number(word)), 20);
  if (what === "drains") process.on("SIGTERM", () => setTimeout(() => process.exit(0), 200));
  if (what === "fails") process.on("SIGTERM", () => process.exit(3));
`;

let folder: string;
let fleet: Fleet;
let deaths: Death[];
let hopeless: number[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "glimpse-fleet-"));
  await writeFile(join(folder, "child.mjs"), script);
});
afterEach(() => fleet.stop());
afterAll(() => rm(folder, { recursive: true, force: true }));

function start(cards: string[], options: Partial<FleetOptions> = {}): void {
  [deaths, hopeless] = [[], []];
  fleet = startFleet({
    program: pathToFileURL(join(folder, "child.mjs")),
    cards,
    env: { PATH: process.env.PATH },
    log: createLogger("test", "silent"),
    onDeath: (death) => deaths.push(death),
    onHopeless: (code) => hopeless.push(code),
    ...options,
  });
}
const states = () => fleet.read().map(({ state }) => state);

test("each worker has a card to itself; asked to stop, all end in order", async () => {
  start(["drains-1", "drains-2"]);
  await expect.poll(states, { timeout: 5_000 }).toEqual(["ready", "ready"]);
  expect(fleet.read().map(({ card }) => card)).toEqual(["drains-1", "drains-2"]);
  expect(await fleet.stop()).toBe(true);
  expect([states(), deaths]).toEqual([["stopped", "stopped"], []]);
});

test("a worker that ends badly when asked to stop is told of", async () => {
  start(["fails"]);
  await expect.poll(states, { timeout: 5_000 }).toEqual(["ready"]);
  expect(await fleet.stop()).toBe(false);
  expect(deaths).toMatchObject([{ crashed: true }]);
});

test("signals from outside are no crash; everything else that was not asked for is", async () => {
  start(["dies-SIGSEGV", "dies-SIGABRT", "exits-70", "exits-0"]);
  await expect
    .poll(() => fleet.read().every((worker) => worker.deaths > 0), { timeout: 10_000 })
    .toBe(true);
  expect(new Set(deaths.map(({ workerId }) => workerId)).size).toBe(deaths.length);
  expect(deaths.every(({ crashed }) => crashed)).toBe(true);
  await fleet.stop();
  start(["dies-SIGKILL", "dies-SIGTERM"]);
  await expect
    .poll(() => fleet.read().every((worker) => worker.deaths > 0), { timeout: 10_000 })
    .toBe(true);
  expect(deaths.every(({ crashed }) => !crashed)).toBe(true);
  expect(hopeless).toEqual([]);
});

test("what gets nothing done is soon broken, what works is started again and again", async () => {
  start(["exits-1", "works-SIGKILL", "drains"]);
  await expect.poll(states, { timeout: 20_000 }).toContain("broken");
  const [idle, busy, calm] = fleet.read();
  expect(idle).toMatchObject({ state: "broken", deaths: 6 });
  expect(busy?.deaths).toBeGreaterThan(6);
  expect(busy?.state).not.toBe("broken");
  expect(calm).toMatchObject({ state: "ready", deaths: 0 });
}, 30_000);

test("when none can be started at all, that is told; when one can, it is not", async () => {
  start(["boot-9", "boot-9"]);
  await expect.poll(() => hopeless, { timeout: 5_000 }).toContain(9);
  await fleet.stop();
  start(["boot-9", "drains"]);
  await expect.poll(() => fleet.read()[0]?.deaths, { timeout: 10_000 }).toBeGreaterThan(2);
  expect([hopeless, states()[1]]).toEqual([[], "ready"]);
});
