/**
 * The keys and values of all slots: one allocation for each layer and side, [slots, kvHeads, positions, cacheDim], and
 * the views of it that the decoder reads and writes in place. Knows slots and layout; no tokens, and not whose memory.
 */
import type { CacheElement, CacheMemory, Piece } from "./cache-memory.ts";
import { AllocationError, EngineError } from "./errors.ts";
import { DECODER_IO, type Manifest } from "./manifest.ts";
import type { Snapshot } from "./runner.ts";
import type { NamedTensors } from "./session.ts";
import { ELEMENT_BYTES, type Tensor } from "./tensor.ts";

/** The decoder's inputs, and its outputs over the same memory. */
export type CacheView = { past: NamedTensors; present: NamedTensors };

/** The attention kernels' positions come in multiples of this. */
const GRANULE = 8;
/** Room behind a slot's capacity for the token that pads a chunk. */
const PADDING = 1;

export class KvPool {
  readonly slots: number;
  readonly #memory: CacheMemory;
  readonly #text: Manifest["text"];
  /** Of a slot. */
  readonly #positions: number;
  /** Keys and values of each layer in turn. */
  readonly #sides: Tensor[];
  readonly #views = new Map<string, CacheView>();
  readonly #tensors: Tensor[] = [];

  /**
   * @param capacity positions of a slot that sequences may use
   * Throws EngineError `engine_failure` if that is more than the memory has.
   */
  constructor(memory: CacheMemory, { text }: Manifest, slots: number, capacity: number) {
    this.#memory = memory;
    this.#text = text;
    this.#positions = roundUp(capacity + PADDING);
    this.slots = slots;
    const what = `${slots} sequences of ${capacity} positions`;
    this.#sides = allocateAll(memory, 2 * text.layers, slots * this.#slotSize, what);
    if (!memory.isZeroed) this.#clear();
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
    this.#memory.copy(
      this.#pieces(length, (side, head) => ({
        from: side,
        fromAt: this.#at(from, head),
        to: side,
        toAt: this.#at(to, head),
      })),
    );
  }

  /** Throws AllocationError. */
  save(slot: number, length: number): SavedCache {
    const { cacheDim, kvHeads } = this.#text;
    const size = length * cacheDim;
    const what = `a snapshot of ${length} positions`;
    const saved = allocateAll(this.#memory, this.#sides.length, kvHeads * size, what);
    this.#memory.copy(
      this.#pieces(length, (side, head, i) => ({
        from: side,
        fromAt: this.#at(slot, head),
        to: saved[i]!,
        toAt: head * size,
      })),
    );
    return new SavedCache(this.#memory, length, saved);
  }

  /** Throws EngineError `engine_failure` unless the snapshot is one of `save`'s, not released and long enough. */
  restore(snapshot: Snapshot, slot: number, length: number): void {
    const sides = snapshot instanceof SavedCache ? snapshot.sides : undefined;
    if (!sides || length > snapshot.length)
      throw new EngineError("engine_failure", `the snapshot does not hold ${length} positions`);
    const step = snapshot.length * this.#text.cacheDim;
    this.#memory.copy(
      this.#pieces(length, (side, head, i) => ({
        from: sides[i]!,
        fromAt: head * step,
        to: side,
        toAt: this.#at(slot, head),
      })),
    );
  }

  /** Resolves when what was copied is in its place. Throws EngineError `engine_failure`. */
  settled(): Promise<void> {
    return this.#memory.settled();
  }

  /** Only once settled. */
  close(): void {
    for (const tensor of [...this.#tensors, ...this.#sides]) tensor[Symbol.dispose]();
  }

  /** What was in the memory before may be no numbers, and those spread even from where nobody looks. */
  #clear(): void {
    const size = this.#positions * this.#text.cacheDim;
    const zeros = this.#memory.zeros(size);
    this.#memory.copy(
      this.#pieces(this.#positions, (side, head) => ({
        from: zeros,
        fromAt: 0,
        to: side,
        toAt: this.#at(0, head),
      })),
    );
    this.#memory.release([zeros]);
    for (let slot = 1; slot < this.slots; slot++) this.copy(0, slot, this.#positions);
  }

  /** The first positions of each head, in the order in which the copying graph has them. */
  #pieces(
    length: number,
    place: (side: Tensor, head: number, index: number) => Omit<Piece, "size">,
  ): Piece[] {
    const size = length * this.#text.cacheDim;
    const heads = Array.from({ length: this.#text.kvHeads }, (_, head) => head);
    return this.#sides.flatMap((side, index) =>
      heads.map((head) => ({ ...place(side, head, index), size })),
    );
  }

  get #slotSize(): number {
    return this.#text.kvHeads * this.#positions * this.#text.cacheDim;
  }

  /** Where a slot's head begins, in elements. */
  #at(slot: number, head: number): number {
    const headSize = this.#positions * this.#text.cacheDim;
    return slot * this.#slotSize + head * headSize;
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
    const dims = [slots, kvHeads, this.#positions, cacheDim];
    const tensorOf = (side: Tensor) => {
      const tensor = this.#memory.view(side, slot * this.#slotSize, dims);
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
  readonly #memory: CacheMemory;
  /** Of each layer and side: [kvHeads, length, cacheDim]. */
  sides: Tensor[] | undefined;

  constructor(memory: CacheMemory, length: number, sides: Tensor[]) {
    this.#memory = memory;
    this.length = length;
    this.bytes = sides.reduce((sum, { dims }) => sum + dims[0]!, 0) * ELEMENT_BYTES[memory.type];
    this.sides = sides;
  }

  release(): void {
    if (this.sides) this.#memory.release(this.sides);
    this.sides = undefined;
  }
}

export function cacheElement({ dtype }: Manifest): CacheElement {
  return dtype === "fp16" ? "float16" : "float32";
}

/** The capacity at which this many slots fill `bytes`. */
export function capacityFor(bytes: number, manifest: Manifest, slots: number): number {
  const { layers, kvHeads, cacheDim } = manifest.text;
  const positionBytes = 2 * layers * kvHeads * cacheDim * ELEMENT_BYTES[cacheElement(manifest)];
  const positions = Math.floor(bytes / (slots * positionBytes));
  return positions - (positions % GRANULE) - PADDING;
}

/** All or none. */
function allocateAll(memory: CacheMemory, count: number, elements: number, what: string): Tensor[] {
  const tensors: Tensor[] = [];
  try {
    while (tensors.length < count) tensors.push(memory.allocate(elements));
    return tensors;
  } catch (error) {
    memory.release(tensors);
    if (!(error instanceof AllocationError)) throw error;
    throw new AllocationError(`no memory for ${what}`, { cause: error.cause });
  }
}

function roundUp(positions: number): number {
  return Math.ceil(positions / GRANULE) * GRANULE;
}
