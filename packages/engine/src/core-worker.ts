/** The thread's end of core-thread.ts: the model, and steps that block. Hears between two steps, tells when text is made. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { CoreNews, CoreReply, CoreRequest, CoreSetup } from "./core-thread.ts";
import { createCore } from "./core.ts";
import { errorWords } from "./errors.ts";
import { moment } from "./moment.ts";
import { loadRunner } from "./ort-runner.ts";
import { joinPiece, type PieceSink } from "./piece-queue.ts";

if (parentPort === null) throw new Error("core-worker.ts runs as a worker thread only");
const port = parentPort;
const { dir, options, settings, vocabulary, limits } = workerData as CoreSetup;

const news = new Map<number, CoreNews>();
const drops = new Map<number, (reason: unknown) => void>();

function sinkOf(number: number): PieceSink {
  const told = (): CoreNews => {
    const known = news.get(number) ?? { number, pieces: [], ended: false };
    news.set(number, known);
    return known;
  };
  return {
    push: (piece) => joinPiece(told().pieces, piece),
    end: () => {
      told().ended = true;
      drops.delete(number);
    },
    fail: (reason) => {
      told().error = errorWords(reason);
      drops.delete(number);
    },
  };
}

try {
  const runner = await loadRunner(dir, { ...options, blocking: true });
  const core = createCore({
    runner,
    settings,
    vocabulary,
    limits,
    hooks: { beforeStep: hear, afterTold: tell },
  });
  void core.failed.then((failure) => reply({ failure: errorWords(failure) }));
  port.on("message", handle);
  tell();

  /** While there is work, this loop leaves the event loop no turn. */
  function hear(): void {
    for (let received; (received = receiveMessageOnPort(port));)
      handle(received.message as CoreRequest);
  }

  function handle(request: CoreRequest): void {
    if (request.type === "begin") begin(request);
    else if (request.type === "drop") drops.get(request.number)?.(undefined);
    else void core.close().then(() => port.close());
  }

  function begin({ number, work }: Extract<CoreRequest, { type: "begin" }>): void {
    const sink = sinkOf(number);
    try {
      const clock = moment.fromShared(work.clock);
      drops.set(number, core.begin({ ...work, clock }, sink));
    } catch (error) {
      sink.fail(error);
      tell();
    }
  }

  function tell(): void {
    reply({ stats: core.stats, news: [...news.values()] });
    news.clear();
  }
} catch (error) {
  reply({ failure: errorWords(error, "the model could not be loaded") });
}

function reply(message: CoreReply): void {
  port.postMessage(message);
}
