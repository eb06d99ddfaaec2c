// npm start: one command brings everything up, and whatever ends it leaves nothing behind.
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { freePort } from "./support/redis-server.ts";
import {
  launch,
  privateRedisPort,
  startSystem,
  type System,
  temporaryFolder,
} from "./support/launch.ts";

const samples = join(import.meta.dirname, "../apps/api/public/samples/samples.json");

// Whole systems come and go here, beside other tests.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let system: System;
beforeAll(async () => {
  folder = await temporaryFolder();
  system = await startSystem(folder.path);
});
afterAll(async () => {
  system.kill("SIGTERM");
  await system.ended;
  await folder.remove();
});

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

async function expectNothingLeft({ port, dataDir }: System): Promise<void> {
  const redisPort = await privateRedisPort(dataDir);
  expect({ api: await listens(port), redis: await listens(redisPort) }).toEqual({
    api: false,
    redis: false,
  });
}

test("it asks the sample's question and prints the right answer", async () => {
  const [sample] = JSON.parse(await readFile(samples, "utf8")) as {
    question: string;
    answer: string;
  }[];
  expect(system.output()).toContain(sample?.question);
  expect(system.output()).toContain(`> ${sample?.answer} `);
  expect(system.output()).toContain(`curl -s ${system.url}/v1/infer`);
});

test("a port in use is named, and nothing is started", async () => {
  const second = launch({ PORT: String(system.port), DATA_DIR: `${folder.path}-2` });
  expect(await second.ended).not.toBe(0);
  expect(second.output()).toContain(`Port ${system.port} of 127.0.0.1 is in use`);
});

test("a second start does not take the first one's Redis away", async () => {
  const second = launch({ PORT: "1", DATA_DIR: folder.path });
  expect(await second.ended).not.toBe(0);
  expect(second.output()).toContain(`already running with ${folder.path}`);
  expect((await fetch(`${system.url}/ready`)).status).toBe(200);
});

test("what it cannot use is refused in plain words", async () => {
  const refused = launch({ PORT: "eighty", DATA_DIR: folder.path });
  expect(await refused.ended).not.toBe(0);
  expect(refused.output()).toContain('PORT must be a number from 1 to 65535, not "eighty".');
});

test("a model that cannot be run ends the start with its reason", async () => {
  const { path: broken, remove } = await temporaryFolder();
  await writeFile(join(broken, "config.json"), JSON.stringify({ model_type: "llama" }));
  const port = String(await freePort());
  const refused = launch({ PORT: port, MODEL_DIR: broken, DATA_DIR: join(broken, "data") });
  expect(await refused.ended).not.toBe(0);
  expect(refused.output()).toMatch(/worker cannot run.*\n.*config\.json/);
  expect(await listens(Number(port))).toBe(false);
  await remove();
});

test("SIGTERM drains and ends all; the next start has the old jobs", async () => {
  const form = new FormData();
  form.set("prompt", "hello");
  form.set("options", JSON.stringify({ max_tokens: 8 }));
  const job = (await fetch(`${system.url}/v1/infer`, { method: "POST", body: form }).then((r) =>
    r.json(),
  )) as { id: string; state: string };
  expect(job.state).toBe("succeeded");

  system.kill("SIGTERM");
  expect(await system.ended).toBe(0);
  await expectNothingLeft(system);

  const started = performance.now();
  system = await startSystem(folder.path);
  console.log(`second start: ${Math.round(performance.now() - started)} ms`);
  expect(system.output()).not.toContain("installing");
  expect(await fetch(`${system.url}/v1/jobs/${job.id}`).then((r) => r.json())).toMatchObject(job);
});

test("when npm is killed, everything ends all the same", async () => {
  system.kill("SIGKILL");
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline && (await listens(await privateRedisPort(folder.path)))) {
    await sleep(100);
  }
  await expectNothingLeft(system);
  system = await startSystem(folder.path);
});
