/**
 * A core in a thread of its own, where a step may block: between two steps nothing waits for another thread to wake up,
 * and the event loop here stays free. Knows messages; core-worker.ts is the thread's end.
 */
import { SHARE_ENV, Worker } from "node:worker_threads";
import type { GenerationSettings } from "./checkpoint.ts";
import type { Core, CoreStats, Work } from "./core.ts";
import { EngineError, errorFrom, type ErrorWords } from "./errors.ts";
import { moment } from "./moment.ts";
import type { RunnerOptions } from "./ort-runner.ts";
import type { PieceSink } from "./piece-queue.ts";
import type { StepperLimits } from "./stepper.ts";
import type { Vocabulary } from "./tokenizer.ts";
import type { Piece } from "./types.ts";

export type CoreSetup = {
  dir: string;
  options: RunnerOptions;
  settings: GenerationSettings;
  vocabulary: Vocabulary;
  limits: StepperLimits;
};

/** To the thread. Work is numbered; its clock's times are moments. */
export type CoreRequest =
  | { type: "begin"; number: number; work: Work }
  | { type: "drop"; number: number }
  | { type: "close" };

/** What became of one work since the last reply. */
export type CoreNews = { number: number; pieces: Piece[]; ended: boolean; error?: ErrorWords };

/** From the thread; the first says that the model is loaded. A failure is the last. */
export type CoreReply =
  | { failure: ErrorWords }
  | { failure?: undefined; stats: CoreStats; news: CoreNews[] };

/** Starts the thread and loads the model in it. Throws what loadRunner throws. */
export async function startCoreThread(setup: CoreSetup): Promise<Core> {
  const worker = new Worker(new URL("./core-worker.ts", import.meta.url), {
    workerData: setup,
    env: SHARE_ENV, // the runtime is told through the process's environment (ort-api.ts), not a copy of it
    // What a step leaves behind is dead by the next: with room for it, collections are rare and short.
    resourceLimits: { maxYoungGenerationSizeMb: 64 },
  });
  const sinks = new Map<number, PieceSink>();
  const failed = Promise.withResolvers<EngineError>();
  const loaded = Promise.withResolvers<CoreStats>();
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  let over: EngineError | undefined;
  let next = 1;

  const post = (request: CoreRequest, transfer: ArrayBuffer[] = []): void =>
    worker.postMessage(request, transfer);

  function fail(failure: EngineError): void {
    if (over) return;
    over = failure;
    failed.resolve(failure); // first, for who ends the process
    loaded.reject(failure);
    for (const sink of sinks.values()) sink.fail(failure);
    sinks.clear();
  }

  function deliver({ number, pieces, ended, error }: CoreNews): void {
    const sink = sinks.get(number);
    if (!sink) return; // dropped
    for (const piece of pieces) sink.push(piece);
    if (error) sink.fail(errorFrom(error));
    if (ended) sink.end();
    if (ended || error) sinks.delete(number);
  }

  let stats: CoreStats;
  worker.on("message", (reply: CoreReply) => {
    if (reply.failure) return fail(errorFrom(reply.failure));
    stats = reply.stats;
    loaded.resolve(stats);
    for (const news of reply.news) deliver(news);
  });
  const lost = (cause?: unknown): void =>
    fail(new EngineError("engine_failure", "the engine's thread ended unexpectedly", { cause }));
  worker.on("error", lost);
  worker.on("exit", () => lost());
  stats = await loaded.promise;

  return {
    failed: failed.promise,
    get stats() {
      return stats;
    },
    begin({ input, request, clock }, sink) {
      if (over) throw over;
      const number = next++;
      const work = { input, request, clock: moment.toShared(clock) };
      sinks.set(number, sink);
      post({ type: "begin", number, work }, [input.pixels.buffer]);
      return (reason) => {
        if (!sinks.delete(number)) return;
        sink.fail(reason);
        post({ type: "drop", number });
      };
    },
    async close() {
      fail(new EngineError("engine_failure", "the engine is closed"));
      post({ type: "close" });
      await exited;
    },
  };
}
