/**
 * A process with real workers on engines that only take time: as many milliseconds as the prompt says ("take 200"), all slots
 * at once, then one piece. Everything but the engine is the real thing.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { GenerateRequest, Piece } from "@glimpse/engine";
import { createProcessLogger } from "@glimpse/telemetry";
// oxlint-disable-next-line no-restricted-imports -- this file is a process of its own: a second main.ts
import { readConfig } from "@glimpse/worker/config";
// oxlint-disable-next-line no-restricted-imports
import { startWorker } from "@glimpse/worker/worker";
import { createAnswering } from "./answering.ts";

const answering = createAnswering();

async function* generate(
  { messages }: GenerateRequest,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  answering.began();
  const prompt = messages.at(-1)?.content;
  const ms = Number(/^take (\d+)$/.exec(typeof prompt === "string" ? prompt : "")?.[1]);
  if (ms > 0) await sleep(ms, undefined, { signal });
  yield { type: "delta", text: "A circle." };
  const usage = { promptTokens: 8, imageTokens: 0, cachedTokens: 0, completionTokens: 3 };
  const timings = { preprocessMs: 0, visionMs: 0, firstTokenMs: ms, totalMs: ms };
  yield { type: "end", finishReason: "stop", outputTokenIds: [], usage, timings };
  answering.ended();
}

const log = createProcessLogger("worker");
const config = readConfig();
const loopDelay = () => ({ p50: 0, p99: 0, max: 0 });
const workers = await Promise.all(
  config.cards.map(() => {
    const own = { ...config, workerId: randomUUID() };
    return startWorker({ config: own, engine: { generate }, log, loopDelay });
  }),
);
process.once("SIGTERM", () => {
  setTimeout(() => process.exit(1), 5_000).unref(); // a Redis that is gone is waited for for ever
  void Promise.all(workers.map((worker) => worker.stop())).then(() => process.exit(0));
});
answering.ready();
