/**
 * The engine: messages in, pieces of text out, many requests at once. Joins the processor (text and pictures) and the
 * core (prepared requests to pieces), each in threads of its own; knows the insides of neither.
 */
import { readGenerationSettings } from "./checkpoint.ts";
import { startCoreThread } from "./core-thread.ts";
import type { Core } from "./core.ts";
import type { PictureLimits } from "./decode-image.ts";
import type { EngineError } from "./errors.ts";
import { readManifest } from "./manifest.ts";
import { type RunnerOptions, runnerShape } from "./ort-runner.ts";
import { PieceQueue } from "./piece-queue.ts";
import { type ProcessorPool, startProcessorPool } from "./processor-pool.ts";
import { checkRequest } from "./request.ts";
import type { StepperLimits } from "./stepper.ts";
import type { GenerateRequest, Piece } from "./types.ts";
import { withinTime } from "./within-time.ts";

export type EngineLimits = StepperLimits & {
  /** Pictures of one request; 16 by default. */
  maxPictures: number;
};

export type EngineOptions = Partial<EngineLimits> &
  RunnerOptions & {
    /** Of one picture's file; 40 million pixels by default. */
    pictures?: Partial<PictureLimits>;
  };

/** What an engine is made of; Engine.load makes it of a folder. */
export type EngineParts = {
  core: Core;
  processor: ProcessorPool;
  slots: number;
  maxPictures: number;
};

/** Where an option is missing. */
export const DEFAULT_LIMITS: EngineLimits = {
  maxPictures: 16,
  chunkTokens: 512,
  chunkSteps: 1,
  featureCacheBytes: 256 * 2 ** 20,
  prefixCacheBytes: 256 * 2 ** 20,
  tellEveryMs: 30,
};
const DEFAULT_MAX_PIXELS = 40_000_000;

export class Engine {
  readonly #core: Core;
  readonly #processor: ProcessorPool;
  readonly #slots: number;
  readonly #maxPictures: number;

  constructor({ core, processor, slots, maxPictures }: EngineParts) {
    this.#core = core;
    this.#processor = processor;
    this.#slots = slots;
    this.#maxPictures = maxPictures;
  }

  /**
   * Loads a converted checkpoint.
   * @throws EngineError `invalid_checkpoint` naming the file, `unsupported_architecture`, `engine_failure`
   */
  static async load(dir: string, options: EngineOptions = {}): Promise<Engine> {
    const { pictures, ...rest } = options;
    const limits = { ...DEFAULT_LIMITS, ...rest };
    const settings = await readGenerationSettings(dir);
    const { slots, capacity } = runnerShape(await readManifest(dir), rest);
    const processor = await startProcessorPool({
      dir,
      limits: { maxPixels: DEFAULT_MAX_PIXELS, ...pictures, context: capacity },
    });
    const { vocabulary } = processor;
    try {
      const core = await startCoreThread({ dir, options: rest, settings, vocabulary, limits });
      return new Engine({ core, processor, slots, maxPictures: limits.maxPictures });
    } catch (cause) {
      await processor.close();
      throw cause;
    }
  }

  /** Resolves when the runtime has broken: every request has failed, later ones will, and only a new process helps. */
  get failed(): Promise<EngineError> {
    return this.#core.failed;
  }

  /** Counts since the start, and what is going on now. */
  get stats() {
    return { slots: this.#slots, ...this.#core.stats };
  }

  /**
   * Answers one request: a `prompt` piece, text as it comes, an `end` piece. Pieces that nobody takes hold up nobody.
   * Stopping the iteration, aborting the signal or passing the deadline ends the work at the next step; an abort
   * throws the signal's reason.
   * @throws EngineError of the picture, prompt or request that cannot be used, `context_too_long`,
   * `deadline_exceeded`, or `engine_failure`
   */
  async *generate(
    request: GenerateRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<Piece, void, undefined> {
    const startedAt = performance.now();
    checkRequest(request, this.#maxPictures);
    signal?.throwIfAborted();
    const deadline = startedAt + (request.deadline ?? Infinity) - Date.now();
    const { messages, ...rest } = request;
    const preparing = this.#processor.process(messages, request.thinking);
    const input = await withinTime(preparing, deadline, signal);
    signal?.throwIfAborted(); // in the same moment
    const clock = { startedAt, deadline, preprocessMs: performance.now() - startedAt };
    const pieces = new PieceQueue();
    const drop = this.#core.begin({ input, request: rest, clock }, pieces);
    const abort = (): void => drop(signal?.reason);
    signal?.addEventListener("abort", abort);
    try {
      for (let piece; (piece = await pieces.take());) yield piece;
    } finally {
      signal?.removeEventListener("abort", abort);
      abort();
    }
  }

  /** Fails what still runs, ends the threads and frees the model. */
  async close(): Promise<void> {
    await this.#core.close();
    await this.#processor.close();
  }
}
