/**
 * Prefill and decode: what the language model's graph is given for a chunk of one sequence, and for the next token of
 * many. Knows slots, lengths and positions; no pointers, and not whose sequences they are.
 *
 * A chunk gets an even number of tokens: the runtime has a kernel of its own for one row, which rounds differently, and
 * where it goes through a chunk in blocks of an even size, an odd one may leave one row in the last. So a prompt's
 * numbers are the same to the last bit whatever chunks it comes in.
 */
import { Frame } from "./frame.ts";
import type { KvPool } from "./kv-pool.ts";
import type { Manifest } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import { type TextRotation, textRotation } from "./rotary.ts";
import type { Candidates, Chunk, Penalty } from "./runner.ts";
import type { Session } from "./session.ts";

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
    using frame = new Frame(
      this.#runtime,
      this.#session,
      {
        tokens,
        batch: 1,
        frequencies: this.#rotation.frequencies,
        rows: Int32Array.of(n - 1),
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
    const frame = (this.#frames[n] ??= this.#decodeFrame(n));
    frame.ids.set(ids);
    frame.lastIndex.set(pasts);
    let longest = 0;
    for (let row = 0; row < n; row++) {
      longest = Math.max(longest, pasts[row]! + 1);
      this.#rotation.writeRow(positions[row]!, row, frame.cos, frame.sin);
    }
    frame.totalLength[0] = longest;
    return frame.run(k, penalties);
  }

  close(): void {
    for (const frame of this.#frames) frame?.[Symbol.dispose]();
  }

  #decodeFrame(n: number): Frame {
    const shape = {
      tokens: n,
      batch: n,
      frequencies: this.#rotation.frequencies,
      rows: Int32Array.from({ length: n }, (_, row) => row),
      features: { ...NO_FEATURES, width: this.#hidden },
    };
    return new Frame(this.#runtime, this.#session, shape, this.#pool.firstSlots(n));
  }
}

const NO_FEATURES = { rows: new Float32Array(0), at: new Int32Array(0) };
