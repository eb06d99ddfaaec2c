// OpenAI's official Python client, unmodified. It is installed by `pnpm test:doors`; a machine that has none does without.
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import type { System } from "../support/system.ts";
import { startSystem } from "../support/system.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 180_000 });

const run = promisify(execFile);
const version = "3.51.0";
const isFull = process.env.DOORS === "full";
if (!isFull) console.log("openai-python.test.ts: skipped, since pip would reach for the internet");

let system: System;
let folder: string;
beforeAll(async () => {
  if (!isFull) return;
  folder = await mkdtemp(join(tmpdir(), "glimpse-python-"));
  await run("python3", ["-m", "venv", folder]);
  await run(join(folder, "bin/pip"), ["install", "--quiet", `openai==${version}`]);
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "scripted" });
});
afterAll(async () => {
  if (!isFull) return;
  await system.stop();
  await rm(folder, { recursive: true, force: true });
});

test.runIf(isFull)("chat, streams, responses, keys and refusals", async () => {
  const script = join(import.meta.dirname, "openai_client.py");
  const env = { ...process.env, BASE_URL: `${system.url}/v1` };
  const { stdout } = await run(join(folder, "bin/python"), [script], { env });
  expect(stdout).toContain(`openai ${version}: all as expected`);
});
