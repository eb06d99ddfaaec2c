/** The ceiling: the engine's own runner in a loop, nothing between a step and the next but the tokens fed back. */
import type { Runner } from "@glimpse/engine";

/**
 * Reads the prompt into `batch` slots, then decodes greedily among `k` candidates.
 * @returns when each of `steps` decode steps ended, milliseconds
 */
export async function bareLoop(
  runner: Runner,
  prompt: Int32Array,
  batch: number,
  steps: number,
  k: number,
): Promise<Float64Array> {
  const n = prompt.length;
  const ids = new Int32Array(batch);
  const positions = Int32Array.from({ length: 3 * n }, (_, i) => i % n);
  for (let slot = 0; slot < batch; slot++) {
    const candidates = await runner.prefill(slot, 0, { ids: prompt, positions }, k);
    ids[slot] = candidates.ids[0]!;
  }
  const pasts = new Int32Array(batch).fill(n);
  const ends = new Float64Array(steps);
  for (let step = 0; step < steps; step++) {
    const candidates = await runner.decode(ids, pasts, pasts, k);
    for (let row = 0; row < batch; row++) ids[row] = candidates.ids[row * k]!;
    pasts.fill(pasts[0]! + 1);
    ends[step] = performance.now();
  }
  return ends;
}
