// Streams behind a real nginx that has been told nothing but where to go: nothing is held back, and silence cuts nothing.
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { createClient } from "../support/client.ts";
import { freePort } from "../support/redis-server.ts";
import type { System } from "../support/system.ts";
import { startSystem } from "../support/system.ts";

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

const isFull = process.env.DOORS === "full";
const hasNginx = spawnSync("nginx", ["-v"]).status === 0;
if (!hasNginx) console.log("nginx.test.ts: skipped, since there is no nginx here");
if (isFull && !hasNginx) throw new Error("pnpm test:doors wants nginx (Debian: nginx-light).");

let system: System;
let folder: string;
let nginx: ChildProcess;
let url: string;
beforeAll(async () => {
  if (!hasNginx) return;
  system = await startSystem({ redisUrl: inject("redisUrl"), engine: "scripted" });
  folder = await mkdtemp(join(tmpdir(), "glimpse-nginx-"));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join("\n");
  const conf = `
pid ${folder}/pid;
error_log ${folder}/error.log;
events {}
http {
  access_log off;
  ${temporary}
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass ${system.url}; }
  }
}`;
  await writeFile(join(folder, "nginx.conf"), conf);
  const command = ["-p", folder, "-c", join(folder, "nginx.conf"), "-g", "daemon off;"];
  nginx = spawn("nginx", command, { stdio: "ignore" });
  while (!(await answers(port))) {
    if (nginx.exitCode !== null) throw new Error("nginx did not start");
    await sleep(20);
  }
});
afterAll(async () => {
  if (!hasNginx) return;
  const ended = once(nginx, "exit");
  nginx.kill("SIGTERM");
  await ended;
  await system.stop();
  await rm(folder, { recursive: true, force: true });
});

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

const jobOf = (id: string) => id.replace("chatcmpl-", "job_");
const ask = (client: OpenAI, content: string) =>
  client.chat.completions.create({
    model: "nano",
    messages: [{ role: "user", content }],
    stream: true,
  });

test.runIf(hasNginx)("each delta is here long before the next", async () => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused" });
  const native = createClient(system.url);
  let wordsWhileRunning = 0;
  for await (const { id, choices } of await ask(client, "count 5 every 400")) {
    if (!choices[0]?.delta.content) continue;
    if ((await native.read(jobOf(id))).state === "running") wordsWhileRunning++;
  }
  expect(wordsWhileRunning).toBeGreaterThanOrEqual(4);
});

test.runIf(hasNginx && isFull)("more than a minute of silence cuts no stream", async () => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused" });
  const behind = createClient(url);
  let chat = "";
  let streams: Promise<string>[] = [];
  for await (const { id, choices } of await ask(client, "count 2 every 62000")) {
    const text = choices[0]?.delta.content ?? "";
    if (text === "0 ") {
      const job = jobOf(id);
      streams = [textOfEvents(job, behind), textOfResponse(job, client)];
      await sleep(100);
    }
    chat += text;
  }
  expect([chat, ...(await Promise.all(streams))]).toEqual(["0 1 ", "0 1 ", "0 1 "]);
});

async function textOfEvents(job: string, behind: ReturnType<typeof createClient>) {
  let text = "";
  for await (const event of behind.events(job)) if (event.type === "delta") text += event.text;
  return text;
}

async function textOfResponse(job: string, client: OpenAI) {
  let text = "";
  const id = job.replace("job_", "resp_");
  for await (const event of await client.responses.retrieve(id, { stream: true }))
    if (event.type === "response.output_text.delta") text += event.delta;
  return text;
}
