/**
 * BullMQ's Worker with another way of fetching: as many jobs at once as there are free slots, in one write to the socket,
 * where the original asks for one after the other. Knows slots and locks; knows neither the ledger nor the engine.
 * Leans on BullMQ's protected `lockManager`, `running`, `mainLoopRunning` and `createJob`: its version is pinned, pump.test.ts
 * holds it to this.
 */
import type { Job, JobJson, Processor, WorkerOptions } from "bullmq";
import { Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { Finish } from "./perform.ts";
import { lockToken } from "./release.ts";
import type { Steps } from "./steps.ts";
import { createSteps } from "./steps.ts";

export type PumpOptions = WorkerOptions & {
  connection: Redis;
  /** The slots. */
  concurrency: number;
  /** Whose locks these are: every lock's token begins with it. */
  name: string;
  /** Whether more jobs may be taken now, free slots or not. Asked again when a running job ends. */
  mayTake?: () => boolean;
  /** Told of a job that has stalled too often, before BullMQ fails it: it will not be processed again. */
  onPoisoned: (job: Job) => Promise<void>;
};

/** How long to wait after an error of Redis before asking again. */
const errorDelayMs = 1_000;

export class Pump extends Worker {
  readonly #inFlight = new Set<Promise<void>>();
  readonly #mayTake: () => boolean;
  readonly #onPoisoned: PumpOptions["onPoisoned"];
  readonly #owner: string;
  readonly #steps: Steps;
  #tokens = 0;
  /** Has the pump look again whether it may take; called whenever a job has ended. */
  #wake = () => {};

  constructor(name: string, processor: Processor, options: PumpOptions) {
    const { onPoisoned, mayTake = () => true, ...others } = options;
    const steps = createSteps(options.connection);
    super(name, processor, { ...others, autorun: false }, steps.createBackend);
    this.#steps = steps;
    this.#onPoisoned = onPoisoned;
    this.#mayTake = mayTake;
    this.#owner = options.name;
  }

  /** How many slots are taken. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Has the end of a job that is being processed written by `finish`, in the step that completes it. */
  endWith(job: string, finish: Finish): void {
    this.#steps.endWith(job, finish);
  }

  /** Takes jobs until the pump is closed. Without the two timers started here, jobs fetched by hand lose their locks. */
  override async run(): Promise<void> {
    if (this.running) throw new Error("The pump is running already.");
    this.running = true;
    try {
      await this.startStalledCheckTimer();
      this.lockManager.start();
      // close() interrupts the blocking fetch and waits for this promise.
      this.mainLoopRunning = this.#pump();
      await this.mainLoopRunning;
    } finally {
      this.running = false;
    }
  }

  async #pump(): Promise<void> {
    while (!this.closing) {
      const free = this.concurrency - this.#inFlight.size;
      if (this.#inFlight.size > 0 && (free === 0 || !this.#mayTake())) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      const asked = Math.min(free, this.#steps.waiting);
      if (asked > 0) {
        await Promise.all(Array.from({ length: asked }, () => this.#take({ block: false })));
        continue;
      }
      // Tells BullMQ that there is nothing to take, or it would ask again before it blocks.
      await this.nextJobFromJobData();
      // Never more than one blocking fetch: of several, all but the first return at once and spin.
      if (!this.closing) await this.#take({ block: true });
    }
    await Promise.all(this.#inFlight);
  }

  /** A job whose data is not JSON would throw here, be held without a lock and be fetched for ever; without data it is processed, and refused. */
  protected override createJob(json: JobJson, id: string): Job {
    try {
      return super.createJob(json, id);
    } catch {
      return super.createJob({ ...json, data: "null" }, id);
    }
  }

  /** Fetches one job and begins it. False when there was none. */
  async #take(options: { block: boolean }): Promise<boolean> {
    const token = lockToken(this.#owner, this.#tokens++);
    try {
      const job = await this.getNextJob(token, options);
      if (job === undefined) return false;
      const work: Promise<void> = this.#work(job, token).finally(() => {
        this.#inFlight.delete(work);
        this.#wake();
      });
      this.#inFlight.add(work);
      return true;
    } catch (error) {
      this.emit("error", error as Error);
      await this.delay(errorDelayMs);
      return false;
    }
  }

  /** Processes the job, and those that BullMQ hands over when one is done. Never rejects. */
  async #work(first: Job, token: string): Promise<void> {
    let job: Job | void = first;
    try {
      while (job) {
        // BullMQ 6 hands a poisoned job out like any other; processJob then fails it without running it.
        if (job.deferredFailure) await this.#onPoisoned(job);
        job = await this.processJob(
          job,
          token,
          // While there are free slots they are filled together.
          () => !this.closing && this.#mayTake() && this.#inFlight.size === this.concurrency,
        );
        this.#wake();
      }
    } catch (error) {
      this.emit("error", error as Error);
    }
  }
}
