/**
 * The loop over the runner: step by step, for as long as there are sequences. Joins the scheduler (who is next), vision,
 * the prefix cache and sequences (rows to tokens, tokens to pieces); knows no request and no text.
 */
import { createBatcher } from "./batch.ts";
import { AllocationError, deadlineExceeded, EngineError } from "./errors.ts";
import { createPace, type Pace } from "./pace.ts";
import { createPrefixCache, type PrefixCache } from "./prefix-cache.ts";
import type { Candidates, Runner } from "./runner.ts";
import { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import { createVision, type Vision } from "./vision.ts";

export type StepperLimits = {
  /** Prompt tokens read between two decode steps at most, and tokens of pictures encoded in one call; 512 by default. */
  chunkTokens: number;
  /** Decode steps that a chunk may last while sequences run: longer chunks are cut; 1 by default. */
  chunkSteps: number;
  /** Features kept of pictures seen lately; 256 MiB by default, 0 for none. */
  featureCacheBytes: number;
  /** Keys and values kept of prompts seen lately; 256 MiB by default, 0 for none. */
  prefixCacheBytes: number;
  /** Text is made of tokens this far apart, milliseconds: 30 by default, which takes no time from quick steps. */
  tellEveryMs: number;
};

/** For who shares a thread with the steps. */
export type StepperHooks = {
  /** Before each step: the time to add and drop. */
  beforeStep?(): void;
  /** Sinks have got what there was; comes last when work ends. */
  afterTold?(): void;
};

/** Decode steps after a failed allocation, before the batch is tried with one row more. */
const STEPS_TO_GROW = 16;

export class Stepper {
  /** Resolves when the runtime has broken: all sequences have failed, and only a new process helps. */
  readonly failed: Promise<EngineError>;
  readonly #reportFailure: (failure: EngineError) => void;
  readonly #runner: Runner;
  readonly #pace: Pace;
  readonly #scheduler: Scheduler<Sequence>;
  readonly #vision: Vision;
  readonly #prefixes: PrefixCache;
  readonly #batchOf: ReturnType<typeof createBatcher>;
  /** Sequences with tokens that are not pieces yet. */
  readonly #untold: Sequence[] = [];
  /** Why there is no more work: the runtime broke, or this was closed. */
  #over: EngineError | undefined;
  #running: Promise<void> | undefined;
  /** Rows of a decode step at most, for want of memory. */
  #rowLimit = Infinity;
  #stepsToGrow = STEPS_TO_GROW;
  #toldAt = -Infinity;
  readonly #tellEveryMs: number;
  readonly #hooks: StepperHooks;
  /** `steppedAt`: when the last step of `steps` ended, on the clock of the steps' thread. */
  readonly #counts = { steps: 0, steppedAt: 0, promptTokens: 0, outputTokens: 0 };

  constructor(runner: Runner, limits: StepperLimits, hooks: StepperHooks = {}) {
    this.#hooks = hooks;
    this.#tellEveryMs = limits.tellEveryMs;
    const { chunkTokens, chunkSteps, featureCacheBytes, prefixCacheBytes } = limits;
    const { slots } = runner.shape;
    this.#runner = runner;
    this.#pace = createPace(chunkTokens, chunkSteps);
    this.#scheduler = new Scheduler(slots);
    this.#vision = createVision(runner, featureCacheBytes, chunkTokens);
    this.#prefixes = createPrefixCache(prefixCacheBytes);
    this.#batchOf = createBatcher(slots);
    const { promise, resolve } = Promise.withResolvers<EngineError>();
    this.failed = promise;
    this.#reportFailure = resolve;
  }

  /** Throws `engine_failure` once all is over. */
  add(sequence: Sequence): void {
    if (this.#over) throw this.#over;
    this.#scheduler.add(sequence);
    this.#running ??= Promise.resolve().then(() => this.#run()); // a step may add, too
  }

  /** Ends a sequence, wherever it is, unless it has ended; its slot is free at the next step. */
  drop(sequence: Sequence, reason: unknown): void {
    sequence.fail(reason);
    this.#scheduler.leave(sequence);
  }

  /** Counts since the start, and what is going on now. */
  get stats() {
    const { decoding, waiting } = this.#scheduler;
    return {
      running: decoding,
      waiting: waiting.length,
      ...this.#counts,
      pictures: this.#vision.stats,
      prefixes: this.#prefixes.stats,
    };
  }

  /** Drops all sequences; resolves when nothing runs. */
  async close(): Promise<void> {
    this.#over ??= new EngineError("engine_failure", "the engine is closed");
    for (const sequence of Array.from(this.#scheduler)) this.drop(sequence, this.#over);
    await this.#running;
    this.#prefixes.clear();
  }

  async #run(): Promise<void> {
    try {
      while (this.#scheduler.size > 0) await this.#step();
      this.#settle();
      this.#hooks.afterTold?.();
    } catch (error) {
      this.#break(error);
    }
    this.#running = undefined;
  }

  /** One pass: leavers out, prompts forward by a chunk in all, every running sequence by a token. */
  async #step(): Promise<void> {
    this.#hooks.beforeStep?.();
    this.#settle();
    const budget = this.#pace.tokens(this.#scheduler.running.length > 0);
    for (let left = budget; left > 0;) left -= await this.#read(left, left === budget);
    if (this.#scheduler.running.length > 0) await this.#decode();
    if (this.#scheduler.size === 0) this.#tell(true);
  }

  #settle(): void {
    const { expired, moves } = this.#scheduler.settle(performance.now());
    for (const sequence of expired) sequence.fail(deadlineExceeded());
    for (const { from, to, length } of moves) this.#runner.copy(from, to, length);
  }

  /**
   * Brings the next prompt forward by a chunk; or by its pictures, which are a step's only work besides decoding.
   * Returns the tokens spent, Infinity when that is all.
   */
  async #read(budget: number, isFirst: boolean): Promise<number> {
    const sequence = this.#scheduler.next();
    if (!sequence) return Infinity;
    if (sequence.slot < 0 && !this.#vision.isReady(sequence)) {
      if (!isFirst) return Infinity;
      const refused = await this.#during(this.#vision.encode(this.#scheduler.waiting));
      for (const [one, error] of refused) this.drop(one, error);
      return Infinity;
    }
    if (sequence.slot < 0) this.#admit(sequence);
    const count = this.#scheduler.chunk(sequence, budget);
    await this.#prefill(sequence, count);
    return count;
  }

  #admit(sequence: Sequence): void {
    this.#scheduler.admit();
    const found = this.#prefixes.find(sequence.prompt);
    if (!found) return;
    this.#runner.restore(found.snapshot, sequence.slot, found.length);
    sequence.length = sequence.cachedTokens = found.length;
  }

  async #prefill(sequence: Sequence, count: number): Promise<void> {
    const { slot, length, sampler } = sequence;
    const isLast = length + count === sequence.promptLength;
    const [k, penalty] = isLast ? [sampler.k, sampler.penalty] : [1, undefined];
    const chunk = sequence.chunk(count);
    const start = performance.now();
    let candidates: Candidates;
    try {
      candidates = await this.#during(this.#runner.prefill(slot, length, chunk, k, penalty));
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      if (count > 2) return this.#prefill(sequence, Math.ceil(count / 2));
      return this.drop(sequence, error);
    }
    this.#pace.tookPrefill(count, performance.now() - start);
    this.#counts.promptTokens += count;
    if (isLast) {
      this.#accept(sequence, candidates, 0);
      this.#remember(sequence);
    }
    const move = this.#scheduler.advance(sequence, count);
    if (move) this.#runner.copy(move.from, move.to, move.length);
  }

  /** Keeps the prompt's keys and values, which prefill made: those of decode steps need not be the same to the bit. */
  #remember({ prompt, cachedTokens, slot, promptLength }: Sequence): void {
    if (!this.#prefixes.wants(prompt, cachedTokens)) return;
    try {
      this.#prefixes.add(prompt, this.#runner.save(slot, promptLength));
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error; // it goes without as well
    }
  }

  async #decode(): Promise<void> {
    const { running } = this.#scheduler;
    const rows = Math.min(running.length, this.#rowLimit);
    const { ids, pasts, positions, k, penalties } = this.#batchOf(running, rows);
    const start = performance.now();
    let candidates: Candidates;
    try {
      const decoding = this.#runner.decode(ids, pasts, positions, k, penalties);
      candidates = await this.#during(decoding);
    } catch (error) {
      if (!(error instanceof AllocationError)) throw error;
      return this.#shrink(rows, error);
    }
    this.#counts.steppedAt = performance.now();
    this.#pace.tookDecode(this.#counts.steppedAt - start);
    this.#counts.steps++;
    this.#scheduler.grow(rows);
    for (let row = 0; row < rows; row++) this.#accept(running[row]!, candidates, row);
    if (--this.#stepsToGrow > 0) return;
    this.#stepsToGrow = STEPS_TO_GROW;
    this.#rowLimit++;
  }

  /** A batch that does not fit goes on by halves, the rows behind wait in their slots; a row that does not fit alone fails. */
  #shrink(rows: number, error: AllocationError): void {
    this.#stepsToGrow = STEPS_TO_GROW;
    this.#rowLimit = Math.ceil(rows / 2);
    if (rows === 1) this.drop(this.#scheduler.running[0]!, error);
  }

  /** Only this stands between two runs; pieces are made of the token while the next run is under way. */
  #accept(sequence: Sequence, candidates: Candidates, row: number): void {
    if (sequence.ended) return;
    try {
      if (sequence.accept(candidates, row)) this.#scheduler.leave(sequence);
      this.#counts.outputTokens++;
      if (sequence.untold === 1) this.#untold.push(sequence);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      this.drop(sequence, error);
    }
  }

  /** Waits for a run, and uses the time. */
  #during<T>(run: Promise<T>): Promise<T> {
    this.#tell();
    return run;
  }

  #tell(isLast = false): void {
    const now = performance.now();
    if (now - this.#toldAt < this.#tellEveryMs && !isLast) return;
    this.#toldAt = now;
    for (const sequence of this.#untold) if (sequence.tell()) this.#scheduler.leave(sequence);
    this.#untold.length = 0;
    this.#hooks.afterTold?.();
  }

  #break(cause: unknown): void {
    const known = cause instanceof EngineError;
    const failure = known
      ? cause
      : new EngineError("engine_failure", "the engine broke", { cause });
    this.#over ??= failure;
    this.#reportFailure(failure); // first, for who ends the process
    this.#tell(true);
    for (const sequence of this.#scheduler) sequence.fail(failure);
    this.#scheduler.clear();
  }
}
