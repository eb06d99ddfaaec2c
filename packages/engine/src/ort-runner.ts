/**
 * A Runner on ONNX Runtime: knows the converted folder's graphs and the layout of their tensors; knows no text, no
 * picture formats and no pointers. Sequences run one call at a time; each slot has a KV cache, written in place.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { bicubicMatrix } from "./bicubic.ts";
import { EngineError } from "./errors.ts";
import {
  DECODER_IO,
  EMBEDDING_IO,
  GRAPH_FILES,
  type Manifest,
  readManifest,
  VISION_IO,
} from "./manifest.ts";
import { Runtime } from "./ort.ts";
import { textRotation, visionRotation } from "./rotary.ts";
import type { Chunk, ModelShape, Runner, Slot } from "./runner.ts";
import { Session } from "./session.ts";
import { CachedSlot, KvCache } from "./slot.ts";
import type { Grid } from "./types.ts";

export type RunnerOptions = {
  /** Where the graphs run. */
  device?: "cpu";
  /** Threads inside one operator; by default as many as there are cores. */
  threads?: number;
};

type Graphs = Record<keyof typeof GRAPH_FILES, Session>;

/**
 * Loads a converted folder.
 * Throws EngineError `invalid_checkpoint` if it is none, `engine_failure` if the runtime refuses it.
 */
export async function loadRunner(
  dir: string,
  { threads = availableParallelism() }: RunnerOptions = {},
): Promise<Runner> {
  const manifest = await readManifest(dir);
  const runtime = new Runtime();
  const loaded: Session[] = [];
  const load = async (name: keyof Graphs, threadsOfGraph = threads) => {
    const path = join(dir, GRAPH_FILES[name]);
    const session = await Session.load(runtime, name, path, threadsOfGraph);
    loaded.push(session);
    return session;
  };
  try {
    const vision = await load("vision");
    const embedding = await load("embedding", 1);
    const decoder = await load("decoder");
    return new OrtRunner(manifest, runtime, { vision, embedding, decoder });
  } catch (error) {
    for (const session of loaded) session.close();
    runtime.close();
    throw error;
  }
}

class OrtRunner implements Runner {
  readonly shape: ModelShape;
  readonly #manifest: Manifest;
  readonly #runtime: Runtime;
  readonly #graphs: Graphs;
  readonly #slots = new Set<CachedSlot>();
  /** Calls in flight; closing waits for them, since the runtime would go on writing. */
  readonly #calls = new Set<Promise<unknown>>();
  #closed = false;
  /** The cache of the last slot released, for the next one. */
  #spare: KvCache | undefined;

  constructor(manifest: Manifest, runtime: Runtime, graphs: Graphs) {
    const { text, vision } = manifest;
    this.shape = {
      hidden: text.hidden,
      vocab: text.vocab,
      context: text.context,
      merge: vision.merge,
      patchDim: vision.patchDim,
    };
    this.#manifest = manifest;
    this.#runtime = runtime;
    this.#graphs = graphs;
  }

  encodeImages(pixels: Float32Array, grids: Grid[]): Promise<Float32Array> {
    return this.#call(() => this.#encodeImages(pixels, grids));
  }

  async #encodeImages(pixels: Float32Array, grids: Grid[]): Promise<Float32Array> {
    const { hidden, merge, patchDim } = this.shape;
    const patches = grids.map(([t, h, w]) => t * h * w);
    const total = patches.reduce((sum, count) => sum + count, 0);
    check(
      pixels.length === total * patchDim,
      `${pixels.length} pixel values for ${total} patches of ${patchDim}`,
    );
    for (const [, h, w] of grids) {
      const merges = h % merge === 0 && w % merge === 0;
      check(merges, `a grid of ${h} x ${w} patches does not merge by ${merge}`);
    }
    const features = new Float32Array((total / merge ** 2) * hidden);
    let patch = 0;
    // One picture a call: attention stays within it, and memory is one picture's.
    for (const [i, grid] of grids.entries()) {
      const end = patch + patches[i]!;
      const [from, to] = [patch, end].map((at) => (at / merge ** 2) * hidden);
      await this.#encodeImage(
        pixels.subarray(patch * patchDim, end * patchDim),
        grid,
        features.subarray(from, to),
      );
      patch = end;
    }
    return features;
  }

  async #encodeImage(pixels: Float32Array, [t, h, w]: Grid, features: Float32Array): Promise<void> {
    const { vision } = this.#manifest;
    const { patchDim, hidden } = this.shape;
    const { cos, sin } = visionRotation(h, w, vision);
    using scope = new DisposableStack();
    const tensor = (data: Float32Array, ...dims: number[]) =>
      scope.use(this.#runtime.tensor(data, dims));
    await this.#graphs.vision.run(
      {
        [VISION_IO.pixels]: tensor(pixels, t, h * w, patchDim),
        [VISION_IO.rowWeights]: tensor(bicubicMatrix(h, vision.tableSide), h, vision.tableSide),
        [VISION_IO.columnWeights]: tensor(bicubicMatrix(w, vision.tableSide), w, vision.tableSide),
        [VISION_IO.cos]: tensor(cos, h * w, vision.headDim / 2),
        [VISION_IO.sin]: tensor(sin, h * w, vision.headDim / 2),
      },
      { [VISION_IO.features]: tensor(features, features.length / hidden, hidden) },
    );
  }

  open(capacity: number): Slot {
    const { context } = this.shape;
    if (capacity > context) {
      throw new EngineError(
        "context_too_long",
        `${capacity} positions are more than the model's ${context}`,
      );
    }
    const slot = new CachedSlot(this.#takeCache(capacity), capacity, () => {
      this.#slots.delete(slot);
      this.#spare?.close();
      this.#spare = slot.cache;
    });
    this.#slots.add(slot);
    return slot;
  }

  forward(slot: Slot, chunk: Chunk): Promise<Float32Array> {
    return this.#call(() => {
      check(slot instanceof CachedSlot && this.#slots.has(slot), "the slot is not open here");
      this.#checkChunk(slot, chunk);
      return slot.hold(async () => {
        const logits = await this.#run(slot, chunk);
        slot.length += chunk.ids.length;
        return logits;
      });
    });
  }

  async #run(slot: CachedSlot, { ids, positions, features }: Chunk): Promise<Float32Array> {
    const { hidden, vocab } = this.shape;
    const { rows, at } = features ?? { rows: new Float32Array(0), at: new Int32Array(0) };
    const tokens = ids.length;
    const length = slot.length + tokens;
    const { cos, sin } = textRotation(positions, this.#manifest.text.rope);
    const logits = new Float32Array(vocab);
    using scope = new DisposableStack();
    const tensor = (data: Float32Array | Int32Array, ...dims: number[]) =>
      scope.use(this.#runtime.tensor(data, dims));
    const embeddings = scope.use(this.#runtime.allocate("float32", [tokens, hidden]));
    await this.#graphs.embedding.run(
      {
        [EMBEDDING_IO.ids]: tensor(ids, tokens),
        [EMBEDDING_IO.features]: tensor(rows, at.length, hidden),
        [EMBEDDING_IO.featureIndex]: tensor(at, at.length),
      },
      { [EMBEDDING_IO.embeddings]: embeddings },
    );
    await this.#graphs.decoder.run(
      {
        [DECODER_IO.embeddings]: embeddings,
        [DECODER_IO.cos]: tensor(cos, tokens, cos.length / tokens),
        [DECODER_IO.sin]: tensor(sin, tokens, sin.length / tokens),
        [DECODER_IO.lastIndex]: tensor(Int32Array.of(length - 1), 1),
        [DECODER_IO.totalLength]: tensor(Int32Array.of(length)),
        ...slot.cache.past,
      },
      { [DECODER_IO.logits]: tensor(logits, 1, vocab), ...slot.cache.present },
    );
    return logits;
  }

  #checkChunk(slot: CachedSlot, { ids, positions, features }: Chunk): void {
    const { vocab, hidden } = this.shape;
    const n = ids.length;
    check(n > 0 && positions.length === 3 * n, `${n} ids with ${positions.length} positions`);
    check(
      slot.length + n <= slot.capacity,
      `${n} tokens after ${slot.length} in a slot of ${slot.capacity}`,
    );
    const unknown = ids.find((id) => id < 0 || id >= vocab);
    check(unknown === undefined, `token id ${unknown} is not in the vocabulary of ${vocab}`);
    if (!features) return;
    const { rows, at } = features;
    check(
      rows.length === at.length * hidden,
      `${rows.length} feature values for ${at.length} tokens of ${hidden}`,
    );
    check(
      at.every((index) => index >= 0 && index < n),
      `a feature's index is outside the chunk of ${n}`,
    );
  }

  #takeCache(capacity: number): KvCache {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare && spare.capacity >= capacity) return spare;
    spare?.close();
    return new KvCache(this.#runtime, this.#manifest.text, capacity);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#calls);
    for (const slot of this.#slots) slot.release();
    this.#spare?.close();
    for (const session of Object.values(this.#graphs)) session.close();
    this.#runtime.close();
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    check(!this.#closed, "the runner is closed");
    const call = work();
    this.#calls.add(call);
    return call.finally(() => this.#calls.delete(call));
  }
}

/** A caller's mistake: shapes and limits, never data. */
function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new EngineError("engine_failure", message);
}
