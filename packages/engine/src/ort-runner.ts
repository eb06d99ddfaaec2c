/**
 * The Runner on ONNX Runtime: loads a converted folder, checks what it is asked for, and lets one call run at a time.
 * Knows graphs and limits; what their tensors are is decoder.ts's, vision-run.ts's and kv-pool.ts's.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type CacheMemory, deviceCache, hostCache } from "./cache-memory.ts";
import { Decoder } from "./decoder.ts";
import { type Device, hasHostCache } from "./device.ts";
import { EngineError } from "./errors.ts";
import { cacheElement, capacityFor, KvPool } from "./kv-pool.ts";
import { GRAPH_FILES, type Manifest, readManifest } from "./manifest.ts";
import { Runtime } from "./ort.ts";
import type {
  Candidates,
  Chunk,
  Penalty,
  Picture,
  Runner,
  RunnerShape,
  Snapshot,
} from "./runner.ts";
import { Session } from "./session.ts";
import { patches, VisionRun } from "./vision-run.ts";

export type RunnerOptions = {
  /** Where the graphs run; the CPU by default. CUDA wants an fp16 conversion. */
  device?: Device;
  /** Calls block the thread they are made on, which then has nothing else to do: the quickest way from step to step. */
  blocking?: boolean;
  /** Threads inside one operator; by default as many as there are cores. */
  threads?: number;
  /** Sequences in the KV cache at once; 16 by default. */
  slots?: number;
  /** Positions of a slot; by default what `memoryBytes` holds, else the context, 8192 at most. */
  capacity?: number;
  /** Of the KV cache. */
  memoryBytes?: number;
};

const DEFAULT_SLOTS = 16;
const DEFAULT_CAPACITY = 8192;

/** Throws EngineError `invalid_checkpoint` if `dir` is no conversion, `engine_failure` if the runtime or the device refuses it or no sequence fits. */
export async function loadRunner(dir: string, options: RunnerOptions = {}): Promise<Runner> {
  const { threads = availableParallelism(), device = { type: "cpu" }, blocking = false } = options;
  const manifest = await readManifest(dir);
  const shape = runnerShape(manifest, options);
  const { dtype } = manifest;
  check(
    device.type !== "cuda" || dtype === "fp16",
    `CUDA runs fp16 conversions, ${dir} is ${dtype}`,
  );
  const runtime = new Runtime(device, blocking);
  const loaded: Session[] = [];
  let memory: CacheMemory | undefined;
  const load = async (name: keyof typeof GRAPH_FILES) => {
    const session = await Session.load(runtime, name, join(dir, GRAPH_FILES[name]), threads);
    loaded.push(session);
    return session;
  };
  try {
    const session = await load("decoder"); // first: loading takes the most memory at its largest weight
    const vision = new VisionRun(runtime, await load("vision"), manifest);
    const element = cacheElement(manifest);
    memory = hasHostCache(device)
      ? hostCache(runtime, element)
      : deviceCache(runtime, session, await load("copy"), element);
    const pool = new KvPool(memory, manifest, shape.slots, shape.capacity);
    const decoder = new Decoder(runtime, session, pool, manifest.text, shape.capacity);
    return new OrtRunner(shape, { vision, decoder, pool }, closeAll);
  } catch (error) {
    closeAll();
    throw error;
  }

  function closeAll(): void {
    memory?.close();
    for (const session of loaded) session.close();
    runtime.close();
  }
}

/** What a runner of these options will have room for. Throws `engine_failure` if no sequence fits. */
export function runnerShape(manifest: Manifest, options: RunnerOptions): RunnerShape {
  const { slots = DEFAULT_SLOTS, memoryBytes } = options;
  const { hidden, vocab, context } = manifest.text;
  const { merge, patchDim } = manifest.vision;
  const wanted = options.capacity ?? (memoryBytes === undefined ? DEFAULT_CAPACITY : context);
  const held = memoryBytes === undefined ? Infinity : capacityFor(memoryBytes, manifest, slots);
  const capacity = Math.min(wanted, held, context);
  check(slots >= 1 && capacity >= 1, `no room for ${slots} sequences in ${memoryBytes} bytes`);
  return { hidden, vocab, context, merge, patchDim, slots, capacity };
}

type Parts = { vision: VisionRun; decoder: Decoder; pool: KvPool };

class OrtRunner implements Runner {
  readonly shape: RunnerShape;
  readonly #parts: Parts;
  readonly #closeGraphs: () => void;
  /** The call in flight; closing waits for it, since the runtime would go on writing. */
  #call: Promise<unknown> | undefined;
  #closed = false;

  constructor(shape: RunnerShape, parts: Parts, closeGraphs: () => void) {
    this.shape = shape;
    this.#parts = parts;
    this.#closeGraphs = closeGraphs;
  }

  encodeImages(pictures: Picture[]): Promise<Float32Array[]> {
    return this.#run(() => {
      for (const picture of pictures) this.#checkPicture(picture);
      return this.#parts.vision.encode(pictures);
    });
  }

  prefill(
    slot: number,
    past: number,
    chunk: Chunk,
    k: number,
    penalty?: Penalty,
  ): Promise<Candidates> {
    return this.#run(() => {
      const n = chunk.ids.length;
      this.#checkSlot(slot);
      check(
        n > 0 && chunk.positions.length === 3 * n,
        `${n} ids with ${chunk.positions.length} positions`,
      );
      this.#checkTokens(chunk.ids, chunk.positions);
      this.#checkRange(past, n);
      this.#checkFeatures(chunk);
      this.#checkCandidates(k, [penalty]);
      return this.#parts.decoder.prefill(slot, past, chunk, k, penalty);
    });
  }

  decode(
    ids: Int32Array,
    pasts: Int32Array,
    positions: Int32Array,
    k: number,
    penalties: (Penalty | undefined)[] = [],
  ): Promise<Candidates> {
    return this.#run(() => {
      const n = ids.length;
      check(n > 0 && n <= this.shape.slots, `${n} rows for ${this.shape.slots} slots`);
      check(
        pasts.length === n && positions.length === n && penalties.length <= n,
        `${n} ids with ${pasts.length} lengths, ${positions.length} positions and ${penalties.length} penalties`,
      );
      this.#checkTokens(ids, positions);
      this.#checkLengths(pasts);
      this.#checkCandidates(k, penalties);
      return this.#parts.decoder.decode(ids, pasts, positions, k, penalties);
    });
  }

  copy(from: number, to: number, length: number): void {
    this.#checkIdle();
    this.#checkSlot(from);
    this.#checkSlot(to);
    this.#checkRange(0, length);
    this.#parts.pool.copy(from, to, length);
  }

  save(slot: number, length: number): Snapshot {
    this.#checkIdle();
    this.#checkSlot(slot);
    this.#checkRange(0, length);
    return this.#parts.pool.save(slot, length);
  }

  restore(snapshot: Snapshot, slot: number, length: number): void {
    this.#checkIdle();
    this.#checkSlot(slot);
    this.#checkRange(0, length);
    this.#parts.pool.restore(snapshot, slot, length);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#call?.catch(() => undefined);
    await this.#parts.pool.settled().catch(() => undefined);
    this.#parts.decoder.close();
    this.#parts.pool.close();
    this.#closeGraphs();
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    this.#checkIdle();
    const call = this.#parts.pool.settled().then(work);
    this.#call = call;
    try {
      return await call;
    } finally {
      this.#call = undefined;
    }
  }

  #checkIdle(): void {
    check(!this.#closed, "the runner is closed");
    check(this.#call === undefined, "the runner is busy with another call");
  }

  #checkPicture({ pixels, grid: [t, h, w] }: Picture): void {
    const { merge, patchDim } = this.shape;
    const count = patches({ grid: [t, h, w] });
    check(
      pixels.length === count * patchDim && count > 0,
      `${pixels.length} pixel values for ${count} patches of ${patchDim}`,
    );
    check(
      h % merge === 0 && w % merge === 0,
      `a grid of ${h} x ${w} patches does not merge by ${merge}`,
    );
  }

  #checkSlot(slot: number): void {
    const { slots } = this.shape;
    check(Number.isInteger(slot) && slot >= 0 && slot < slots, `slot ${slot} of ${slots}`);
  }

  #checkRange(past: number, n: number): void {
    const { capacity } = this.shape;
    check(past >= 0 && past + n <= capacity, `${n} tokens after ${past} in a slot of ${capacity}`);
  }

  // Checked at every step: words are made only for what is wrong.
  #checkLengths(pasts: Int32Array): void {
    for (const past of pasts)
      if (past < 0 || past >= this.shape.capacity) this.#checkRange(past, 1);
  }

  #checkTokens(ids: Int32Array, positions: Int32Array): void {
    const { vocab, capacity } = this.shape;
    for (const id of ids)
      if (id < 0 || id >= vocab)
        throw mistake(`token id ${id} is not in the vocabulary of ${vocab}`);
    for (const position of positions)
      if (position < 0 || position >= capacity)
        throw mistake(`position ${position} of ${capacity}`);
  }

  #checkFeatures({ ids, features }: Chunk): void {
    if (!features) return;
    const { hidden } = this.shape;
    const { rows, at } = features;
    check(
      rows.length === at.length * hidden,
      `${rows.length} feature values for ${at.length} tokens of ${hidden}`,
    );
    check(
      at.every((index) => index >= 0 && index < ids.length),
      `a feature's index is outside the chunk of ${ids.length}`,
    );
  }

  #checkCandidates(k: number, penalties: readonly (Penalty | undefined)[]): void {
    const { vocab } = this.shape;
    check(k >= 1 && k <= vocab, `${k} candidates of a vocabulary of ${vocab}`);
    for (const penalty of penalties) {
      const known = penalty?.seen.every((id) => id >= 0 && id < vocab) ?? true;
      check(known, `a penalised token is not in the vocabulary of ${vocab}`);
    }
  }
}

/** A caller's mistake: shapes and limits, never data. */
function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw mistake(message);
}

function mistake(message: string): EngineError {
  return new EngineError("engine_failure", message);
}
