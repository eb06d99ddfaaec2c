/** A decode step's inputs, over memory that is used again at every step. */
import type { Penalty } from "./runner.ts";
import type { Sequence } from "./sequence.ts";

export type Batch = {
  ids: Int32Array;
  pasts: Int32Array;
  positions: Int32Array;
  k: number;
  /** Undefined when no row has one. */
  penalties: (Penalty | undefined)[] | undefined;
};

/** Returns a function that describes the next step of the first `rows` of `running`; valid until its next call. */
export function createBatcher(
  slots: number,
): (running: readonly Sequence[], rows: number) => Batch {
  const [ids, pasts, positions] = [0, 1, 2].map(() => new Int32Array(slots)) as [
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  const ofRows = Array.from({ length: slots + 1 }, (_, rows) => ({
    ids: ids.subarray(0, rows),
    pasts: pasts.subarray(0, rows),
    positions: positions.subarray(0, rows),
    penalties: Array<Penalty | undefined>(rows).fill(undefined),
  }));
  return function batch(running, rows) {
    const of = ofRows[rows]!;
    const { penalties } = of;
    let k = 1;
    let penalised = false;
    for (let row = 0; row < rows; row++) {
      const sequence = running[row]!;
      const { sampler, length } = sequence;
      ids[row] = sequence.lastId;
      pasts[row] = length;
      positions[row] = length + sequence.delta;
      k = Math.max(k, sampler.k);
      penalties[row] = sampler.penalty;
      penalised ||= penalties[row] !== undefined;
    }
    return {
      ids: of.ids,
      pasts: of.pasts,
      positions: of.positions,
      k,
      penalties: penalised ? penalties : undefined,
    };
  };
}
