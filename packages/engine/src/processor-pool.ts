/** Runs the processor in worker threads, so that neither pictures nor long prompts hold up the event loop. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { EngineError, errorFrom, type ErrorWords } from "./errors.ts";
import type { Limits } from "./preprocess.ts";
import type { ModelInput } from "./processor.ts";
import type { Vocabulary } from "./tokenizer.ts";
import type { Message } from "./types.ts";

export type ProcessorSetup = { dir: string; limits: Limits };
/** Requests are numbered from 1; reply 0 says that the thread has loaded. */
export type ProcessorRequest = {
  number: number;
  messages: Message[];
  thinking: boolean | undefined;
};
export type ProcessorReply = { number: number } & (
  | { vocabulary: Vocabulary }
  | { input: ModelInput }
  | { error: ErrorWords }
);

type Waiting = { resolve(reply: ProcessorReply): void; reject(error: EngineError): void };

/** One thread: a worker, started when first needed and again after a crash, and what waits for its replies. */
class Lane {
  readonly waiting = new Map<number, Waiting>();
  readonly #setup: ProcessorSetup;
  #worker: Worker | undefined;
  #next = 1;

  constructor(setup: ProcessorSetup) {
    this.#setup = setup;
  }

  /** Starts the thread and resolves to the vocabulary once the checkpoint is loaded. */
  async load(): Promise<Vocabulary> {
    this.#start();
    const reply = await this.#expect(0);
    if (!("vocabulary" in reply)) throw lost();
    return reply.vocabulary;
  }

  async process(messages: Message[], thinking: boolean | undefined): Promise<ModelInput> {
    const number = this.#next++;
    const worker = this.#worker ?? this.#start();
    const reply = this.#expect(number);
    worker.postMessage({ number, messages, thinking } satisfies ProcessorRequest);
    const answer = await reply;
    if (!("input" in answer)) throw lost();
    return answer.input;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL("./processor-thread.ts", import.meta.url), {
      workerData: this.#setup,
    });
    this.#worker = worker;
    worker.on("message", (reply: ProcessorReply) => {
      const waiting = this.waiting.get(reply.number);
      this.waiting.delete(reply.number);
      if ("error" in reply) waiting?.reject(errorFrom(reply.error));
      else waiting?.resolve(reply);
    });
    // An error is always followed by the exit, which tells those who wait.
    worker.on("error", () => {});
    worker.on("exit", () => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const waiting of this.waiting.values()) waiting.reject(lost());
      this.waiting.clear();
    });
    return worker;
  }

  #expect(number: number): Promise<ProcessorReply> {
    return new Promise((resolve, reject) => this.waiting.set(number, { resolve, reject }));
  }
}

export type ProcessorPool = {
  vocabulary: Vocabulary;
  /** Rejects with the EngineError of the step that failed; `engine_failure` when the thread died. */
  process(messages: Message[], thinking?: boolean): Promise<ModelInput>;
  close(): Promise<void>;
};

/** Starts the threads; by default one for every two cores, at most four. */
export async function startProcessorPool(
  setup: ProcessorSetup,
  threads = Math.min(4, Math.ceil(availableParallelism() / 2)),
): Promise<ProcessorPool> {
  const lanes = Array.from({ length: threads }, () => new Lane(setup));
  const close = async (): Promise<void> => {
    await Promise.all(lanes.map((lane) => lane.close()));
  };
  try {
    const [vocabulary] = await Promise.all(lanes.map((lane) => lane.load()));
    if (vocabulary === undefined) throw lost();
    const process: ProcessorPool["process"] = (messages, thinking) =>
      lanes
        .reduce((best, lane) => (lane.waiting.size < best.waiting.size ? lane : best))
        .process(messages, thinking);
    return { vocabulary, process, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

function lost(): EngineError {
  return new EngineError("engine_failure", "the thread that prepares requests ended unexpectedly");
}
