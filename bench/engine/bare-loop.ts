/** The ceiling: the engine's own runner in a loop, nothing between a step and the next but the tokens fed back. */
import type { Runner } from "@glimpse/engine";
import { seconds } from "./measure.ts";

/** Reads the prompt into `batch` slots, then decodes greedily. Returns the seconds of `steps` decode steps. */
export async function bareLoop(
  runner: Runner,
  prompt: Int32Array,
  batch: number,
  steps: number,
): Promise<number> {
  const n = prompt.length;
  const ids = new Int32Array(batch);
  const positions = Int32Array.from({ length: 3 * n }, (_, i) => i % n);
  for (let slot = 0; slot < batch; slot++) {
    const candidates = await runner.prefill(slot, 0, { ids: prompt, positions }, 1);
    ids[slot] = candidates.ids[0]!;
  }
  const pasts = new Int32Array(batch);
  return seconds(async () => {
    for (let step = 0; step < steps; step++) {
      pasts.fill(n + step);
      const candidates = await runner.decode(ids, pasts, pasts, 1);
      ids.set(candidates.ids);
    }
  });
}
