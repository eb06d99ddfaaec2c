/**
 * The keys and values of all slots: one allocation for each layer and side, [slots, kvHeads, positions, cacheDim], and
 * the views of it that the decoder reads and writes in place. Knows slots and layout; no tokens.
 */
import { EngineError } from "./errors.ts";
import { DECODER_IO, type Manifest } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import type { Snapshot } from "./runner.ts";
import type { NamedTensors } from "./session.ts";
import type { Tensor } from "./tensor.ts";

/** The decoder's inputs, and its outputs over the same memory. */
export type CacheView = { past: NamedTensors; present: NamedTensors };

/** The attention kernels' positions come in multiples of this. */
const GRANULE = 8;
/** Room behind a slot's capacity for the token that pads a chunk. */
const PADDING = 1;
type Side = Float32Array | Float16Array;

export class KvPool {
  readonly slots: number;
  readonly #runtime: Runtime;
  readonly #text: Manifest["text"];
  /** Of a slot. */
  readonly #positions: number;
  /** Keys and values of each layer in turn. */
  readonly #sides: Side[];
  readonly #views = new Map<string, CacheView>();
  readonly #tensors: Tensor[] = [];

  /** @param capacity positions of a slot that sequences may use */
  constructor(runtime: Runtime, { text, dtype }: Manifest, slots: number, capacity: number) {
    this.#runtime = runtime;
    this.#text = text;
    this.#positions = roundUp(capacity + PADDING);
    this.slots = slots;
    const size = slots * this.#slotSize;
    const Elements = dtype === "fp16" ? Float16Array : Float32Array;
    this.#sides = Array.from({ length: 2 * text.layers }, () => new Elements(size));
  }

  /** Slots 0 to n - 1, as [n, ...]. */
  firstSlots(n: number): CacheView {
    return this.#view(0, n);
  }

  /** One slot, as [1, ...]. */
  slot(slot: number): CacheView {
    return this.#view(slot, 1);
  }

  copy(from: number, to: number, length: number): void {
    const size = length * this.#text.cacheDim;
    for (const side of this.#sides) {
      for (const [head, target] of this.#heads(to)) {
        const source = this.#at(from, head);
        side.copyWithin(target, source, source + size);
      }
    }
  }

  save(slot: number, length: number): SavedCache {
    const size = length * this.#text.cacheDim;
    const saved = this.#sides.map((side) => {
      const heads = new (side.constructor as new (size: number) => Side)(this.#text.kvHeads * size);
      for (const [head, at] of this.#heads(slot))
        heads.set(side.subarray(at, at + size), head * size);
      return heads;
    });
    return new SavedCache(length, saved);
  }

  /** Throws EngineError `engine_failure` unless the snapshot is one of `save`'s, not released and long enough. */
  restore(snapshot: Snapshot, slot: number, length: number): void {
    if (!(snapshot instanceof SavedCache) || !snapshot.sides || length > snapshot.length)
      throw new EngineError("engine_failure", `the snapshot does not hold ${length} positions`);
    const { cacheDim } = this.#text;
    const [size, step] = [length * cacheDim, snapshot.length * cacheDim];
    for (const [i, side] of this.#sides.entries()) {
      for (const [head, at] of this.#heads(slot)) {
        side.set(snapshot.sides[i]!.subarray(head * step, head * step + size), at);
      }
    }
  }

  close(): void {
    for (const tensor of this.#tensors) tensor[Symbol.dispose]();
  }

  get #slotSize(): number {
    return this.#text.kvHeads * this.#positions * this.#text.cacheDim;
  }

  /** Where a slot's head begins, in elements. */
  #at(slot: number, head: number): number {
    const headSize = this.#positions * this.#text.cacheDim;
    return slot * this.#slotSize + head * headSize;
  }

  *#heads(slot: number): Generator<[head: number, at: number]> {
    for (let head = 0; head < this.#text.kvHeads; head++) yield [head, this.#at(slot, head)];
  }

  /** Made at first use and kept: there are few. */
  #view(slot: number, slots: number): CacheView {
    const key = `${slot} ${slots}`;
    let view = this.#views.get(key);
    if (!view) {
      view = this.#makeView(slot, slots);
      this.#views.set(key, view);
    }
    return view;
  }

  #makeView(slot: number, slots: number): CacheView {
    const { kvHeads, cacheDim, layers } = this.#text;
    const view: CacheView = { past: {}, present: {} };
    const tensorOf = (side: Side) => {
      const data = side.subarray(slot * this.#slotSize, (slot + slots) * this.#slotSize);
      const tensor = this.#runtime.tensor(data, [slots, kvHeads, this.#positions, cacheDim]);
      this.#tensors.push(tensor);
      return tensor;
    };
    for (let layer = 0; layer < layers; layer++) {
      const key = tensorOf(this.#sides[2 * layer]!);
      const value = tensorOf(this.#sides[2 * layer + 1]!);
      view.past[DECODER_IO.pastKey(layer)] = view.present[DECODER_IO.presentKey(layer)] = key;
      view.past[DECODER_IO.pastValue(layer)] = view.present[DECODER_IO.presentValue(layer)] = value;
    }
    return view;
  }
}

export class SavedCache implements Snapshot {
  readonly length: number;
  readonly bytes: number;
  /** Of each layer and side: [kvHeads, length, cacheDim]. */
  sides: Side[] | undefined;

  constructor(length: number, sides: Side[]) {
    this.length = length;
    this.bytes = sides.reduce((sum, side) => sum + side.byteLength, 0);
    this.sides = sides;
  }

  release(): void {
    this.sides = undefined;
  }
}

/** The capacity at which this many slots fill `bytes`. */
export function capacityFor(bytes: number, { text, dtype }: Manifest, slots: number): number {
  const elementBytes = dtype === "fp16" ? 2 : 4;
  const positionBytes = 2 * text.layers * text.kvHeads * text.cacheDim * elementBytes;
  const positions = Math.floor(bytes / (slots * positionBytes));
  return positions - (positions % GRANULE) - PADDING;
}

function roundUp(positions: number): number {
  return Math.ceil(positions / GRANULE) * GRANULE;
}
