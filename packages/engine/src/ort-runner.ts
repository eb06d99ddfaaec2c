/**
 * A Runner on ONNX Runtime: knows the converted folder's graphs and the layout of their tensors; knows no text, no
 * picture formats and no pointers. Sequences run one call at a time; each slot has a KV cache, written in place.
 */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { bicubicMatrix } from "./bicubic.ts";
import { EngineError } from "./errors.ts";
import { KvCache } from "./kv-cache.ts";
import {
  DECODER_IO,
  EMBEDDING_IO,
  GRAPH_FILES,
  Manifest,
  MANIFEST_FILE,
  VISION_IO,
} from "./manifest.ts";
import { openRuntime, type Runtime, type Session } from "./ort.ts";
import { textRotation, visionRotation } from "./rotary.ts";
import type { Chunk, ModelShape, Runner, Slot } from "./runner.ts";
import type { Grid } from "./types.ts";

export type RunnerOptions = {
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
  { device = "cpu", threads = availableParallelism() }: RunnerOptions = {},
): Promise<Runner> {
  const manifest = await readManifest(dir);
  const runtime = openRuntime({ device });
  const loaded: Session[] = [];
  const load = async (name: keyof Graphs) => {
    const session = await runtime.load(name, join(dir, GRAPH_FILES[name]), { threads });
    loaded.push(session);
    return session;
  };
  try {
    const graphs = {
      vision: await load("vision"),
      embedding: await load("embedding"),
      decoder: await load("decoder"),
    };
    return new OrtRunner(manifest, runtime, graphs);
  } catch (error) {
    for (const session of loaded) await session.close();
    runtime.close();
    throw error;
  }
}

async function readManifest(dir: string): Promise<Manifest> {
  try {
    return Manifest.parse(JSON.parse(await readFile(join(dir, MANIFEST_FILE), "utf8")));
  } catch (cause) {
    throw new EngineError(
      "invalid_checkpoint",
      `${dir} is not a converted model: no readable ${MANIFEST_FILE}`,
      { cause },
    );
  }
}

class OrtRunner implements Runner {
  readonly shape: ModelShape;
  readonly #manifest: Manifest;
  readonly #runtime: Runtime;
  readonly #graphs: Graphs;
  readonly #slots = new Set<OrtSlot>();
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

  async encodeImages(pixels: Float32Array, grids: Grid[]): Promise<Float32Array> {
    const { hidden, merge, patchDim } = this.shape;
    const patches = grids.map(([t, h, w]) => t * h * w);
    const total = patches.reduce((sum, count) => sum + count, 0);
    require(pixels.length ===
      total * patchDim, `${pixels.length} pixel values for ${total} patches of ${patchDim}`);
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
    const { merge, patchDim, hidden } = this.shape;
    require(h % merge === 0 &&
      w % merge === 0, `a grid of ${h} x ${w} patches does not merge by ${merge}`);
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
    const cache = this.#takeCache(capacity);
    const slot = new OrtSlot(cache, () => {
      this.#slots.delete(slot);
      this.#spare?.close();
      this.#spare = cache;
    });
    this.#slots.add(slot);
    return slot;
  }

  async forward(slot: Slot, chunk: Chunk): Promise<Float32Array> {
    const owned = [...this.#slots].find((candidate) => candidate === slot);
    if (!owned)
      throw new EngineError("engine_failure", "the slot was released or is another runner's");
    this.#checkChunk(owned, chunk);
    return owned.hold(async () => {
      const logits = await this.#run(owned, chunk);
      owned.length += chunk.ids.length;
      return logits;
    });
  }

  async #run(slot: OrtSlot, { ids, positions, features }: Chunk): Promise<Float32Array> {
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

  #checkChunk(slot: OrtSlot, { ids, positions, features }: Chunk): void {
    const { vocab, hidden } = this.shape;
    const n = ids.length;
    require(n > 0 && positions.length === 3 * n, `${n} ids with ${positions.length} positions`);
    require(slot.length + n <=
      slot.capacity, `${n} tokens after ${slot.length} in a slot of ${slot.capacity}`);
    const unknown = ids.find((id) => id < 0 || id >= vocab);
    require(unknown === undefined, `token id ${unknown} is not in the vocabulary of ${vocab}`);
    if (!features) return;
    const { rows, at } = features;
    require(rows.length ===
      at.length * hidden, `${rows.length} feature values for ${at.length} tokens of ${hidden}`);
    require(at.every(
      (index) => index >= 0 && index < n,
    ), `a feature's index is outside the chunk of ${n}`);
  }

  #takeCache(capacity: number): KvCache {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare && spare.capacity >= capacity) return spare;
    spare?.close();
    return new KvCache(this.#runtime, this.#manifest.text, capacity);
  }

  async close(): Promise<void> {
    for (const session of Object.values(this.#graphs)) await session.close();
    for (const slot of this.#slots) slot.release();
    this.#spare?.close();
    this.#runtime.close();
  }
}

class OrtSlot implements Slot {
  readonly cache: KvCache;
  length = 0;
  readonly #giveBack: () => void;
  #state: "free" | "running" | "releasing" | "released" = "free";

  constructor(cache: KvCache, giveBack: () => void) {
    this.cache = cache;
    this.#giveBack = giveBack;
  }

  get capacity(): number {
    return this.cache.capacity;
  }

  /** Runs work on the cache; a release in between takes effect after it. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    require(this.#state === "free", `the slot is ${this.#state}`);
    this.#state = "running";
    try {
      return await work();
    } finally {
      const released = (this.#state as string) === "releasing";
      this.#state = "free";
      if (released) this.release();
    }
  }

  release(): void {
    if (this.#state === "running") this.#state = "releasing";
    if (this.#state !== "free") return;
    this.#state = "released";
    this.#giveBack();
  }
}

/** A caller's mistake: shapes and limits, never data. */
function require(condition: boolean, message: string): asserts condition {
  if (!condition) throw new EngineError("engine_failure", message);
}
