/** The keys and values of one sequence, layer by layer, in the device's memory; past and present are one buffer. */
import { DECODER_IO, type Manifest } from "./manifest.ts";
import type { NamedTensors, Runtime, Tensor } from "./ort.ts";

/** Capacities are rounded up, so that a next sequence of about the same length fits. */
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
    for (let layer = 0; layer < text.layers; layer++) {
      const key = allocate();
      const value = allocate();
      this.past[DECODER_IO.pastKey(layer)] = this.present[DECODER_IO.presentKey(layer)] = key;
      this.past[DECODER_IO.pastValue(layer)] = this.present[DECODER_IO.presentValue(layer)] = value;
    }
  }

  close(): void {
    for (const tensor of this.#tensors) tensor[Symbol.dispose]();
  }
}
