// The examples do what they say: each prints the model's answer to the sample.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { createClient } from "../support/client.ts";
import type { System } from "../support/system.ts";
import { startSystem } from "../support/system.ts";

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const picture = join(root, "models/nano/heldout/colour-000.png");
const question = "What colour is the shape?";

let system: System;
let expected: string;
beforeAll(async () => {
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "nano" });
  const url = `data:image/png;base64,${(await readFile(picture)).toString("base64")}`;
  const asked = { prompt: question, images: [url], options: { temperature: 0 } };
  expected = (await createClient(system.url).infer(asked)).output!.text;
});
afterAll(() => system.stop());

async function answerOf(command: string, file: string): Promise<string> {
  const env = { ...process.env, BASE_URL: system.url };
  const args = [join(root, "examples", file), picture, question];
  return (await run(command, args, { env, cwd: root })).stdout.trim();
}

test.each([
  ["sh", "ask.sh"],
  [process.execPath, "ask.ts"],
  [process.execPath, "openai.ts"],
  [process.execPath, "replicate.ts"],
])("%s %s", async (command, file) => {
  expect(await answerOf(command, file)).toBe(expected);
});

test.runIf(process.env.DOORS === "full")("python openai_chat.py", async () => {
  const folder = await mkdtemp(join(tmpdir(), "glimpse-python-"));
  await run("python3", ["-m", "venv", folder]);
  await run(join(folder, "bin/pip"), ["install", "--quiet", "openai==3.51.0"]);
  expect(await answerOf(join(folder, "bin/python"), "openai_chat.py")).toBe(expected);
  await rm(folder, { recursive: true, force: true });
});
