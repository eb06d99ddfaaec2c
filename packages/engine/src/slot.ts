/** A sequence's place: its KV cache in the device's memory, layer by layer, where past and present are one buffer. */
import { EngineError } from "./errors.ts";
import { DECODER_IO, type Manifest } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import type { Slot } from "./runner.ts";
import type { NamedTensors } from "./session.ts";
import type { Tensor } from "./tensor.ts";

/** Capacities are rounded up, so that a cache fits the next sequence of about the same length. */
const GRANULE = 256;

export class KvCache {
  readonly capacity: number;
  /** The decoder's inputs, and its outputs over the same memory. */
  readonly past: NamedTensors = {};
  readonly present: NamedTensors = {};
  readonly #tensors: Tensor[] = [];

  constructor(runtime: Runtime, text: Manifest["text"], capacity: number) {
    this.capacity = Math.min(text.context, Math.ceil(capacity / GRANULE) * GRANULE);
    const dims = [1, text.kvHeads, this.capacity, text.cacheDim];
    const allocate = () => {
      const tensor = runtime.allocate("float32", dims);
      this.#tensors.push(tensor);
      return tensor;
    };
    try {
      for (let layer = 0; layer < text.layers; layer++) {
        const [key, value] = [allocate(), allocate()];
        this.past[DECODER_IO.pastKey(layer)] = this.present[DECODER_IO.presentKey(layer)] = key;
        this.past[DECODER_IO.pastValue(layer)] = this.present[DECODER_IO.presentValue(layer)] =
          value;
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const tensor of this.#tensors) tensor[Symbol.dispose]();
  }
}

export class CachedSlot implements Slot {
  readonly capacity: number;
  readonly cache: KvCache;
  length = 0;
  #state: "free" | "running" | "releasing" | "released" = "free";
  readonly #giveBack: (slot: CachedSlot) => void;

  constructor(cache: KvCache, capacity: number, giveBack: (slot: CachedSlot) => void) {
    this.cache = cache;
    this.capacity = capacity;
    this.#giveBack = giveBack;
  }

  /** Runs what writes the cache; a release meanwhile takes effect afterwards. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    if (this.#state !== "free") throw new EngineError("engine_failure", `slot ${this.#state}`);
    this.#state = "running";
    try {
      return await work();
    } finally {
      this.#settle();
    }
  }

  release(): void {
    if (this.#state === "running") this.#state = "releasing";
    if (this.#state === "free") this.#leave();
  }

  #settle(): void {
    if (this.#state === "releasing") this.#leave();
    else this.#state = "free";
  }

  #leave(): void {
    this.#state = "released";
    this.#giveBack(this);
  }
}
