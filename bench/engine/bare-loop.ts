/** The ceiling: the engine's own runner in a loop, nothing between a step and the next but the tokens fed back. */
import type { Runner } from "@glimpse/engine";

/** Reads the prompt into `batch` slots and decodes until each has `tokens` tokens, greedily. */
export async function bareLoop(
  runner: Runner,
  prompt: Int32Array,
  batch: number,
  tokens: number,
): Promise<void> {
  const n = prompt.length;
  const ids = new Int32Array(batch);
  const positions = Int32Array.from({ length: 3 * n }, (_, i) => i % n);
  for (let slot = 0; slot < batch; slot++) {
    const candidates = await runner.prefill(slot, 0, { ids: prompt, positions }, 1);
    ids[slot] = candidates.ids[0]!;
  }
  const pasts = new Int32Array(batch);
  for (let token = 1; token < tokens; token++) {
    pasts.fill(n + token - 1);
    const candidates = await runner.decode(ids, pasts, pasts, 1);
    ids.set(candidates.ids);
  }
}
