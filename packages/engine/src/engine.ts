/**
 * The engine: messages in, pieces of text out, many requests at once. Joins the processor (text and pictures), intake
 * (requests to sequences) and the stepper (sequences to tokens); knows the insides of none.
 */
import { type GenerationSettings, readGenerationSettings } from "./checkpoint.ts";
import type { EngineError } from "./errors.ts";
import { createSequence } from "./intake.ts";
import { loadRunner, type RunnerOptions } from "./ort-runner.ts";
import { createTokenTable, type TokenTable } from "./output-text.ts";
import { type ProcessorPool, startProcessorPool } from "./processor-pool.ts";
import { checkRequest } from "./request.ts";
import type { Runner } from "./runner.ts";
import { Stepper, type StepperLimits } from "./stepper.ts";
import type { GenerateRequest, Piece } from "./types.ts";
import { withinTime } from "./within-time.ts";

export type EngineLimits = StepperLimits & {
  /** Pictures of one request; 16 by default. */
  maxPictures: number;
};

export type EngineOptions = Partial<EngineLimits> &
  RunnerOptions & {
    /** Pixels of one picture, width * height; 40 million by default. */
    maxPixels?: number;
  };

/** What an engine is made of; Engine.load makes it of a folder. */
export type EngineParts = {
  runner: Runner;
  processor: ProcessorPool;
  settings: GenerationSettings;
  limits?: Partial<EngineLimits>;
};

const DEFAULT_LIMITS: EngineLimits = {
  maxPictures: 16,
  chunkTokens: 512,
  chunkSteps: 1.5,
  featureCacheBytes: 256 * 2 ** 20,
  prefixCacheBytes: 256 * 2 ** 20,
};
const DEFAULT_MAX_PIXELS = 40_000_000;

export class Engine {
  readonly #runner: Runner;
  readonly #processor: ProcessorPool;
  readonly #settings: GenerationSettings;
  readonly #limits: EngineLimits;
  readonly #tokens: TokenTable;
  readonly #stepper: Stepper;

  constructor({ runner, processor, settings, limits }: EngineParts) {
    this.#runner = runner;
    this.#processor = processor;
    this.#settings = settings;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#tokens = createTokenTable(processor.vocabulary);
    this.#stepper = new Stepper(runner, this.#limits);
  }

  /**
   * Loads a converted checkpoint.
   * @throws EngineError `invalid_checkpoint` naming the file, `unsupported_architecture`, `engine_failure`
   */
  static async load(dir: string, options: EngineOptions = {}): Promise<Engine> {
    const { maxPixels = DEFAULT_MAX_PIXELS } = options;
    const settings = await readGenerationSettings(dir);
    const runner = await loadRunner(dir, options);
    try {
      const setup = { dir, limits: { maxPixels, context: runner.shape.capacity } };
      return new Engine({
        runner,
        processor: await startProcessorPool(setup),
        settings,
        limits: options,
      });
    } catch (cause) {
      await runner.close();
      throw cause;
    }
  }

  /** Resolves when the runtime has broken: every request has failed, later ones will, and only a new process helps. */
  get failed(): Promise<EngineError> {
    return this.#stepper.failed;
  }

  /** Counts since the start, and what is going on now. */
  get stats() {
    return { slots: this.#runner.shape.slots, ...this.#stepper.stats };
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
    checkRequest(request, this.#limits.maxPictures);
    signal?.throwIfAborted();
    const deadline = startedAt + (request.deadline ?? Infinity) - Date.now();
    const preparing = this.#processor.process(request.messages, request.thinking);
    const input = await withinTime(preparing, deadline, signal);
    signal?.throwIfAborted(); // in the same moment
    const clock = { startedAt, deadline, preprocessMs: performance.now() - startedAt };
    const model = { shape: this.#runner.shape, settings: this.#settings, tokens: this.#tokens };
    const sequence = createSequence(input, request, model, clock);
    const drop = (): void => this.#stepper.drop(sequence, signal?.reason);
    signal?.addEventListener("abort", drop);
    try {
      this.#stepper.add(sequence);
      for (let piece; (piece = await sequence.pieces.take());) yield piece;
    } finally {
      signal?.removeEventListener("abort", drop);
      drop();
    }
  }

  /** Fails what still runs, ends the threads and frees the model. */
  async close(): Promise<void> {
    await this.#stepper.close();
    await this.#processor.close();
    await this.#runner.close();
  }
}
