/**
 * For tests: a Runner without networks whose slots remember what was really written into them. The next token's logits
 * are a hash of that history, so whatever mixes up slots, lengths, positions or pictures changes the answers.
 */
import type { Candidates, Chunk, Penalty, Picture, Runner, Snapshot } from "./runner.ts";

/** Hashes of the histories so far: entry i is that of the first i + 1 positions. */
type History = number[];

/** With the size of a call: rows of a decode, tokens of a prefill, pictures of a vision call. */
export type FakeCall = "decode" | "prefill" | "vision";

export class FakeRunner implements Runner {
  shape = {
    hidden: 4,
    vocab: 480,
    context: 256,
    capacity: 256,
    merge: 2,
    patchDim: 1176,
    slots: 4,
  };
  readonly histories: History[];
  /** How many snapshots are held. */
  snapshots = 0;
  /** What was asked for, in order. */
  readonly calls: { call: FakeCall; size: number }[] = [];
  /** Called before a call does anything; may throw. */
  before: (call: FakeCall, size: number) => void | Promise<void> = () => {};
  /** Stands in for the hash: the logits of a row, by its history. */
  logits: ((history: History, slot: number) => ArrayLike<number>) | undefined;
  #busy = false;
  /** Given out last: scrambled at the next call. */
  #given: (Float32Array | Int32Array)[] = [];

  constructor(shape: Partial<FakeRunner["shape"]> = {}) {
    Object.assign(this.shape, shape);
    this.histories = Array.from({ length: this.shape.slots }, () => []);
  }

  encodeImages(pictures: Picture[]): Promise<Float32Array[]> {
    return this.#call("vision", pictures.length, () => {
      const grids = new Set(pictures.map(({ grid }) => grid.join()));
      if (grids.size !== 1) throw new Error("pictures of several grids");
      return pictures.map(({ pixels, grid }) => {
        const [t, h, w] = grid;
        if (pixels.length !== t * h * w * this.shape.patchDim)
          throw new Error("not the picture's pixels");
        const seed = pixels.reduce(mix, 7);
        const length = ((t * h * w) / this.shape.merge ** 2) * this.shape.hidden;
        const rows = Float32Array.from({ length }, (_, i) => mix(seed, i) % 1000);
        this.#given.push(rows);
        return rows;
      });
    });
  }

  prefill(
    slot: number,
    past: number,
    chunk: Chunk,
    k: number,
    penalty?: Penalty,
  ): Promise<Candidates> {
    const { ids, positions, features } = chunk;
    return this.#call("prefill", ids.length, () => {
      for (let i = 0; i < ids.length; i++) {
        const axes = [0, 1, 2].map((axis) => positions[axis * ids.length + i]!);
        const row = features ? features.at.indexOf(i) : -1;
        const { hidden } = this.shape;
        const own = row < 0 ? [] : features!.rows.subarray(row * hidden, (row + 1) * hidden);
        this.#write(slot, past + i, [ids[i]!, ...axes, ...own]);
      }
      return this.#candidates([slot], k, [penalty]);
    });
  }

  decode(
    ids: Int32Array,
    pasts: Int32Array,
    positions: Int32Array,
    k: number,
    penalties: (Penalty | undefined)[] = [],
  ): Promise<Candidates> {
    return this.#call("decode", ids.length, () => {
      for (const [row, id] of ids.entries()) {
        const at = positions[row]!;
        this.#write(row, pasts[row]!, [id, at, at, at]);
      }
      return this.#candidates([...ids.keys()], k, penalties);
    });
  }

  copy(from: number, to: number, length: number): void {
    this.#idle();
    if (from === to) throw new Error("copied onto itself");
    this.histories[to] = this.#first(this.histories[from]!, length);
  }

  save(slot: number, length: number): Snapshot {
    this.#idle();
    const kept = this.#first(this.histories[slot]!, length);
    this.snapshots++;
    let released = false;
    const release = (): void => {
      if (released) throw new Error("released twice");
      released = true;
      this.snapshots--;
    };
    return Object.assign({ length, bytes: length * 100, release }, { kept });
  }

  restore(snapshot: Snapshot, slot: number, length: number): void {
    this.#idle();
    this.histories[slot] = this.#first((snapshot as Snapshot & { kept: History }).kept, length);
  }

  async close(): Promise<void> {
    this.#idle();
  }

  /** The logits of a history, unless `logits` says others. */
  hashed(history: History): Float32Array {
    const seed = history.at(-1)!;
    return Float32Array.from(
      { length: this.shape.vocab },
      (_, id) => (mix(seed, id) % 4001) / 250 - 8,
    );
  }

  #first(history: History, length: number): History {
    if (length > history.length) throw new Error(`${length} positions of ${history.length}`);
    return history.slice(0, length);
  }

  #write(slot: number, at: number, values: number[]): void {
    const history = this.histories[slot];
    if (!history || at >= this.shape.capacity) throw new Error(`position ${at} of slot ${slot}`);
    if (at > history.length)
      throw new Error(`slot ${slot} holds ${history.length} positions, not ${at}`);
    history.length = at; // what was behind is overwritten
    history.push(values.reduce(mix, history.at(-1) ?? 1));
  }

  #candidates(slots: number[], k: number, penalties: (Penalty | undefined)[]): Candidates {
    const ids = new Int32Array(slots.length * k);
    const logits = new Float32Array(slots.length * k);
    const logSumExp = new Float32Array(slots.length);
    for (const [row, slot] of slots.entries()) {
      const history = this.histories[slot]!;
      const scores = Float32Array.from(this.logits?.(history, slot) ?? this.hashed(history));
      const { factor, seen } = penalties[row] ?? { factor: 1, seen: [] };
      for (const id of seen) scores[id]! *= scores[id]! < 0 ? factor : 1 / factor;
      const order =
        k === 1
          ? [scores.indexOf(Math.max(...scores))]
          : [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, k);
      ids.set(order, row * k);
      logits.set(
        order.map((id) => scores[id]!),
        row * k,
      );
      logSumExp[row] = Math.log(scores.reduce((sum, score) => sum + Math.exp(score), 0));
    }
    this.#given.push(ids, logits, logSumExp);
    return { k, ids, logits, logSumExp };
  }

  #idle(): void {
    if (this.#busy) throw new Error("two calls at a time");
  }

  async #call<T>(call: FakeCall, size: number, work: () => T): Promise<T> {
    this.#idle();
    this.#busy = true;
    for (const values of this.#given) values.fill(-1);
    this.#given = [];
    try {
      this.calls.push({ call, size });
      await this.before(call, size);
      await new Promise(setImmediate);
      return work();
    } finally {
      this.#busy = false;
    }
  }
}

/** Murmur3's mixing of a value into a hash. */
function mix(hash: number, value: number): number {
  let h = hash ^ Math.imul(Math.round(value * 1024), 0xcc9e2d51);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
