/**
 * The engine: messages in, pieces of text out. Joins the processor (text and pictures), the runner (tensors), sampling
 * and output text; knows the insides of none. Runs one sequence at a time, in the order of the calls.
 */
import { type GenerationSettings, readGenerationSettings } from "./checkpoint.ts";
import { EngineError } from "./errors.ts";
import { loadRunner } from "./ort-runner.ts";
import { createOutputText, createTokenTable, type TokenTable } from "./output-text.ts";
import { decodePosition, promptPositions } from "./positions.ts";
import { type ProcessorPool, startProcessorPool } from "./processor-pool.ts";
import type { ModelInput } from "./processor.ts";
import { checkRequest } from "./request.ts";
import type { Runner } from "./runner.ts";
import { createSampler } from "./sampling.ts";
import { createTurns, type Turns } from "./turns.ts";
import type { FinishReason, GenerateRequest, Piece, Sampling } from "./types.ts";

export type EngineOptions = {
  device?: "cpu";
  /** Threads inside one operator; as many as there are cores by default. */
  threads?: number;
  /** Pixels of one picture, width * height; 40 million by default. */
  maxPixels?: number;
};

/** What an engine is made of; Engine.load makes it of a folder. */
export type EngineParts = {
  runner: Runner;
  processor: ProcessorPool;
  settings: GenerationSettings;
};

const DEFAULT_MAX_PIXELS = 40_000_000;

export class Engine {
  readonly #runner: Runner;
  readonly #processor: ProcessorPool;
  readonly #settings: GenerationSettings;
  readonly #tokens: TokenTable;
  readonly #turns: Turns = createTurns();

  constructor({ runner, processor, settings }: EngineParts) {
    this.#runner = runner;
    this.#processor = processor;
    this.#settings = settings;
    this.#tokens = createTokenTable(processor.vocabulary);
  }

  /**
   * Loads a converted checkpoint.
   * @throws EngineError `invalid_checkpoint` naming the file, `unsupported_architecture`, `engine_failure`
   */
  static async load(dir: string, options: EngineOptions = {}): Promise<Engine> {
    const { maxPixels = DEFAULT_MAX_PIXELS, ...runnerOptions } = options;
    const settings = await readGenerationSettings(dir);
    const runner = await loadRunner(dir, runnerOptions);
    try {
      const limits = { maxPixels, context: runner.shape.context };
      return new Engine({ runner, processor: await startProcessorPool({ dir, limits }), settings });
    } catch (cause) {
      await runner.close();
      throw cause;
    }
  }

  /**
   * Answers one request: a `prompt` piece, text as it comes, an `end` piece. Stopping the iteration or aborting the
   * signal ends the work at the next step; an abort throws the signal's reason.
   * @throws EngineError of the picture, prompt or request that cannot be used, or `engine_failure`
   */
  async *generate(
    request: GenerateRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<Piece, void, undefined> {
    const start = performance.now();
    checkRequest(request);
    signal?.throwIfAborted();
    const input = await this.#processor.process(request.messages, request.thinking);
    const preprocessMs = performance.now() - start;
    const maxTokens = this.#outputLimit(input.ids.length, request.maxTokens);
    const imageTokens = input.ids.filter((id) => id === this.#settings.imageTokenId).length;
    yield {
      type: "prompt",
      promptTokenIds: input.ids,
      imageGrids: input.grids,
      imageTokens,
      pixelDigest: input.digest,
    };
    const release = await this.#turns.take(signal);
    try {
      const run = yield* this.#run(input, request, maxTokens, signal);
      yield {
        type: "end",
        finishReason: run.finishReason,
        outputTokenIds: run.outputIds,
        usage: {
          promptTokens: input.ids.length,
          imageTokens,
          completionTokens: run.outputIds.length,
        },
        timings: {
          preprocessMs,
          visionMs: run.visionMs,
          firstTokenMs: run.firstTokenAt - start,
          totalMs: performance.now() - start,
        },
      };
    } finally {
      release();
    }
  }

  /** Ends the threads and frees the model; call when no generation runs. */
  async close(): Promise<void> {
    await this.#processor.close();
    await this.#runner.close();
  }

  async *#run(
    { ids, pixels, grids }: ModelInput,
    { sampling, stop }: GenerateRequest,
    maxTokens: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Piece, Run, undefined> {
    const { imageTokenId, eosTokenIds } = this.#settings;
    const positions = promptPositions(ids, grids, imageTokenId, this.#runner.shape.merge);
    const sample = createSampler(this.#sampling(sampling), ids);
    const text = createOutputText(this.#tokens, ids, stop ?? []);
    const outputIds: number[] = [];
    let firstTokenAt = 0;
    let finishReason: FinishReason | undefined;

    const slot = this.#runner.open(ids.length + maxTokens);
    try {
      const visionStart = performance.now();
      const rows = grids.length === 0 ? undefined : await this.#runner.encodeImages(pixels, grids);
      const visionMs = performance.now() - visionStart;
      signal?.throwIfAborted();
      let logits = await this.#runner.forward(slot, {
        ids: Int32Array.from(ids),
        positions: positions.ids,
        ...(rows && { features: { rows, at: indexesOf(ids, imageTokenId) } }),
      });
      while (finishReason === undefined) {
        signal?.throwIfAborted();
        const id = sample(logits);
        if (outputIds.push(id) === 1) firstTokenAt = performance.now();
        if (eosTokenIds.includes(id)) finishReason = "stop";
        else {
          yield* text.push(id);
          if (text.stopped) finishReason = "stop";
          else if (outputIds.length === maxTokens) finishReason = "length";
          else {
            const position = decodePosition(ids.length, outputIds.length - 1, positions.delta);
            logits = await this.#runner.forward(slot, {
              ids: Int32Array.of(id),
              positions: position,
            });
          }
        }
      }
      yield* text.finish();
      return { finishReason, outputIds, visionMs, firstTokenAt };
    } finally {
      slot.release();
    }
  }

  #outputLimit(promptLength: number, wanted: number | undefined): number {
    const { context } = this.#runner.shape;
    if (promptLength >= context)
      throw new EngineError(
        "context_too_long",
        `the prompt has ${promptLength} tokens; the model's context is ${context}, answer included`,
      );
    return Math.min(wanted ?? Infinity, context - promptLength);
  }

  #sampling(wanted: Partial<Sampling> = {}): Required<Sampling> {
    const seed = wanted.seed ?? Math.floor(Math.random() * 2 ** 32);
    return { ...this.#settings.sampling, ...wanted, seed };
  }
}

type Run = {
  finishReason: FinishReason;
  outputIds: number[];
  visionMs: number;
  firstTokenAt: number;
};

function indexesOf(ids: number[], id: number): Int32Array {
  return Int32Array.from([...ids.keys()].filter((i) => ids[i] === id));
}
