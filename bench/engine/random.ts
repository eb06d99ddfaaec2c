/** Seeded randomness of the workloads. */

/** Output lengths of mean cap / 4, cut at the cap, from the exponential distribution. */
export function exponentialLengths(count: number, cap: number, seed: number): number[] {
  const next = uniform(seed);
  const draw = () => Math.ceil((-Math.log(1 - next()) * cap) / 4);
  return Array.from({ length: count }, () => Math.min(cap, Math.max(1, draw())));
}

/** Evenly spread in [0, 1): the linear congruential generator of Numerical Recipes. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}
