/** Chance that can be had again: everything random in a test comes from one seed, which it prints. */

export type Random = ReturnType<typeof createRandom>;

/** mulberry32 (Tommy Ettinger, public domain): 32 bits of state, good enough to choose faults with. */
export function createRandom(seed: number) {
  let state = seed >>> 0;
  /** In [0, 1). */
  function fraction(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  /** A whole number from `from` to `to`, both included. */
  const between = (from: number, to: number) => from + Math.floor(fraction() * (to - from + 1));
  function pick<T>(items: readonly T[]): T {
    const item = items[between(0, items.length - 1)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
  return { fraction, between, pick, chance: (p: number) => fraction() < p };
}
