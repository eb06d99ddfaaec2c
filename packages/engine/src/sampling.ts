/**
 * Logits to the next token, in transformers' order and meaning: repetition penalty, temperature, top k, top p, draw
 * (generation/logits_process.py). Knows numbers only. One sampler a sequence: it remembers the tokens it has seen.
 */
import { EngineError } from "./errors.ts";
import { createRandom } from "./random.ts";
import type { Sampling } from "./types.ts";

/** Takes logits [vocab] (left unchanged) and returns the next token's id. */
export type Sampler = (logits: Float32Array) => number;

/** @param promptIds the prompt's tokens, which the repetition penalty counts too */
export function createSampler(sampling: Required<Sampling>, promptIds: Iterable<number>): Sampler {
  const seen = new Set(promptIds);
  const random = createRandom(sampling.seed);
  return function sample(logits) {
    const scores = penalise(logits, seen, sampling.repetitionPenalty);
    const best = argmax(scores);
    if (Number.isNaN(scores[best]!))
      throw new EngineError("engine_failure", "the model's output is not a number");
    const id = sampling.temperature === 0 ? best : draw(scores, scores[best]!, sampling, random);
    seen.add(id);
    return id;
  };
}

/** The first index of the largest value. */
function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function penalise(logits: Float32Array, seen: Set<number>, penalty: number): Float32Array {
  if (penalty === 1) return logits;
  const scores = logits.slice();
  const factor = Math.fround(penalty);
  for (const id of seen) scores[id] = scores[id]! < 0 ? scores[id]! * factor : scores[id]! / factor;
  return scores;
}

function draw(
  scores: Float32Array,
  top: number,
  { temperature, topK, topP }: Sampling,
  random: () => number,
): number {
  const floor = topK > 0 && topK < scores.length ? kthLargest(scores, topK) : -Infinity;
  const ids: number[] = [];
  let weights: number[] = [];
  for (let id = 0; id < scores.length; id++) {
    if (scores[id]! < floor) continue; // ties with the kth stay, as in transformers
    ids.push(id);
    weights.push(Math.exp((scores[id]! - top) / temperature));
  }
  if (topP < 1) weights = keepNucleus(weights, topP);
  let rest = random() * weights.reduce((sum, weight) => sum + weight, 0);
  let last = 0;
  for (const [i, weight] of weights.entries()) {
    if (weight === 0) continue;
    last = i;
    rest -= weight;
    if (rest < 0) break;
  }
  return ids[last]!;
}

/** The smallest set of largest weights whose share reaches topP keeps its weights; the others become 0. */
function keepNucleus(weights: number[], topP: number): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const spare = (1 - topP) * total;
  // Weights this small cannot add up to more than the spare share even together: no need to sort them.
  const negligible = spare / weights.length;
  let removed = 0;
  const kept = weights.map(() => 0);
  const large: number[] = [];
  for (const [i, weight] of weights.entries()) {
    if (weight > negligible) large.push(i);
    else removed += weight;
  }
  large.sort((a, b) => weights[a]! - weights[b]!);
  for (const [rank, i] of large.entries()) {
    removed += weights[i]!;
    if (removed > spare || rank === large.length - 1) kept[i] = weights[i]!;
  }
  return kept;
}

/** The kth largest value (1 = the largest), by a min-heap of the k largest so far. */
function kthLargest(values: Float32Array, k: number): number {
  const heap = values.slice(0, k).sort();
  for (let i = k; i < values.length; i++) {
    const value = values[i]!;
    if (value <= heap[0]!) continue;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= k) break;
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }
  return heap[0]!;
}
