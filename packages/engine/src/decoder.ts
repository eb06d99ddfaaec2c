/**
 * Prefill and decode: what the language model's graph is given for a chunk of one sequence, and for the next token of
 * many. Knows slots, lengths and positions; no pointers, and not whose sequences they are.
 *
 * No call multiplies matrices by one row alone. The runtime has kernels of their own for that, which round differently
 * from those for several rows, so a row's numbers would depend on its company. A decode of one row gets a second one.
 * A chunk gets an even number of tokens, since attention goes through it in blocks of an even size, and an odd one may
 * leave one row in the last. So a prompt's numbers are the same to the last bit whatever chunks it comes in.
 */
import { Frame } from "./frame.ts";
import type { KvPool } from "./kv-pool.ts";
import type { Manifest } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import { type TextRotation, textRotation } from "./rotary.ts";
import type { Candidates, Chunk, Penalty } from "./runner.ts";
import type { Session } from "./session.ts";

const LEAST_ROWS = 2;

export class Decoder {
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #pool: KvPool;
  readonly #rotation: TextRotation;
  readonly #hidden: number;
  /** By number of sequences. */
  readonly #frames: Frame[] = [];

  /** @param positions beyond which no token stands */
  constructor(
    runtime: Runtime,
    session: Session,
    pool: KvPool,
    { hidden, rope }: Manifest["text"],
    positions: number,
  ) {
    this.#runtime = runtime;
    this.#session = session;
    this.#pool = pool;
    this.#hidden = hidden;
    this.#rotation = textRotation(positions, rope);
  }

  async prefill(
    slot: number,
    past: number,
    { ids, positions, features }: Chunk,
    k: number,
    penalty?: Penalty,
  ): Promise<Candidates> {
    const n = ids.length;
    const tokens = n + (n % 2);
    const { rows, at } = features ?? NO_FEATURES;
    // The last token twice, since the output head is a matrix too.
    const last = new Int32Array(LEAST_ROWS).fill(n - 1);
    using frame = new Frame(
      this.#runtime,
      this.#session,
      {
        tokens,
        batch: 1,
        frequencies: this.#rotation.frequencies,
        rows: last,
        hidden: LEAST_ROWS - 1,
        features: { rows, at, width: this.#hidden },
      },
      this.#pool.slot(slot),
    );
    frame.ids.set(ids); // what pads stands behind, where no token of the chunk looks and the next one overwrites
    this.#rotation.write(positions, frame.cos, frame.sin);
    frame.lastIndex[0] = past + tokens - 1;
    frame.totalLength[0] = past + tokens;
    return await frame.run(k, [penalty]);
  }

  async decode(
    ids: Int32Array,
    pasts: Int32Array,
    positions: Int32Array,
    k: number,
    penalties: readonly (Penalty | undefined)[],
  ): Promise<Candidates> {
    const n = ids.length;
    const padding = paddingOf(n);
    const frame = (this.#frames[n] ??= this.#decodeFrame(n));
    let longest = 0;
    for (let i = 0; i < n; i++) {
      const row = padding + i;
      frame.ids[row] = ids[i]!;
      frame.lastIndex[row] = pasts[i]!;
      longest = Math.max(longest, pasts[i]! + 1);
      this.#rotation.writeRow(positions[i]!, row, frame.cos, frame.sin);
    }
    frame.totalLength[0] = longest;
    return frame.run(k, penalties);
  }

  close(): void {
    for (const frame of this.#frames) frame?.[Symbol.dispose]();
  }

  /** Padding rows come first: token 0 in an empty spare row. */
  #decodeFrame(n: number): Frame {
    const hidden = paddingOf(n);
    const batch = hidden + n;
    const shape = {
      tokens: batch,
      batch,
      frequencies: this.#rotation.frequencies,
      rows: Int32Array.from({ length: batch }, (_, row) => row),
      hidden,
      features: { ...NO_FEATURES, width: this.#hidden },
    };
    const cache = hidden === 0 ? this.#pool.firstSlots(n) : this.#pool.spareAndFirst();
    return new Frame(this.#runtime, this.#session, shape, cache);
  }
}

const NO_FEATURES = { rows: new Float32Array(0), at: new Int32Array(0) };

function paddingOf(n: number): number {
  return Math.max(0, LEAST_ROWS - n);
}
