/**
 * TEST ONLY. The worker's process with an engine that does what its prompt says, for what the real model cannot be made to do:
 * take exactly so long, or bring its process down. Everything but the engine is the real thing.
 *   "count 50 every 20"   yields "0 ", "1 ", ... "49 ", 20 ms apart
 *   "crash"               kills the process
 *   "crash SIGSEGV"       kills it the way a native fault does
 *   "break"               breaks the engine, as a runtime's error does
 */
import type { GenerateRequest, Piece } from "@glimpse/engine";
import { createProcessLogger, watchLoopDelay } from "@glimpse/telemetry";
import { setTimeout as sleep } from "node:timers/promises";
// oxlint-disable-next-line no-restricted-imports -- as below
import { exitWhenBroken } from "@glimpse/worker/engine-failure";
// oxlint-disable-next-line no-restricted-imports -- this file is a process of its own: a second main.ts
import { readConfig } from "@glimpse/worker/config";
// oxlint-disable-next-line no-restricted-imports
import { runUntilSignal } from "@glimpse/worker/run";

const broken = Promise.withResolvers<Error>();

async function* generate(
  { messages }: GenerateRequest,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  const content = messages.at(-1)?.content ?? "";
  const prompt =
    typeof content === "string"
      ? content
      : content.map((part) => (part.type === "text" ? part.text : "")).join("");
  const [, crash] = /^crash ?(SIG[A-Z]+)?$/.exec(prompt) ?? [];
  if (prompt.startsWith("crash")) process.kill(process.pid, crash ?? "SIGKILL");
  if (prompt === "break") {
    broken.resolve(new Error("the device is gone"));
    throw await broken.promise;
  }
  const [, words = "0", everyMs = "0"] = /^count (\d+) every (\d+)$/.exec(prompt) ?? [];
  for (let i = 0; i < Number(words); i++) {
    yield { type: "delta", text: `${i} ` };
    await sleep(Number(everyMs), undefined, { signal });
  }
  const usage = {
    promptTokens: prompt.length,
    imageTokens: 0,
    cachedTokens: 0,
    completionTokens: Number(words),
  };
  const timings = { preprocessMs: 0, visionMs: 0, firstTokenMs: 0, totalMs: 0 };
  yield { type: "end", finishReason: "stop", outputTokenIds: [], usage, timings };
}

const log = createProcessLogger("worker");
const config = readConfig();
exitWhenBroken(broken.promise, log);
await runUntilSignal(
  { config, log, engine: { generate }, loopDelay: watchLoopDelay().read },
  async () => {},
);
