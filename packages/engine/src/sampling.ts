/**
 * Candidates to the next token, in transformers' order and meaning: repetition penalty (in the graph), temperature,
 * top k, top p, draw (generation/logits_process.py). Knows numbers only. One sampler a sequence: it remembers the
 * tokens it has seen.
 *
 * Where this differs from the whole distribution: at most MAX_CANDIDATES tokens can be drawn, and top p counts its
 * share among those that top k leaves; of several tokens that tie for the last place, those of lower ids stay, where
 * transformers keeps them all. Greedy is exact, and so is top k up to MAX_CANDIDATES but for ties.
 */
import { EngineError } from "./errors.ts";
import { createRandom } from "./random.ts";
import type { Candidates, Penalty } from "./runner.ts";
import type { Sampling, TokenLogprob } from "./types.ts";

const MAX_CANDIDATES = 256;

export type SamplerSettings = {
  sampling: Required<Sampling>;
  vocab: number;
  eosTokenIds: readonly number[];
  /** Before this many tokens none of `eosTokenIds` comes. */
  minTokens?: number;
  /** Log-probabilities are wanted, and those of this many others. */
  logprobs?: number;
};

export type Sampler = {
  /** Candidates that the next token is picked from; rows with more are cut, so that company changes nothing. */
  readonly k: number;
  /** What the graph applies before it picks the candidates. */
  readonly penalty: Penalty | undefined;
  /** @throws EngineError `engine_failure` if the row is not numbers */
  next(candidates: Candidates, row: number): number;
  /** Of the token that `next` returned last; call before the candidates are void. */
  logprob(candidates: Candidates, row: number): TokenLogprob;
};

/** @param promptIds the prompt's tokens, which the repetition penalty counts too */
export function createSampler(settings: SamplerSettings, promptIds: Iterable<number>): Sampler {
  const { sampling, vocab, eosTokenIds, minTokens = 0, logprobs = 0 } = settings;
  const random = createRandom(sampling.seed);
  const seen = sampling.repetitionPenalty === 1 ? undefined : createSeen(promptIds);
  const wanted =
    sampling.temperature === 0 ? 1 : Math.min(sampling.topK || Infinity, MAX_CANDIDATES);
  let tokens = 0;
  let last = 0;

  const bans = (id: number): boolean => tokens < minTokens && eosTokenIds.includes(id);

  return {
    get k() {
      const spare = tokens < minTokens ? eosTokenIds.length : 0;
      return Math.min(vocab, Math.max(wanted + spare, logprobs));
    },
    get penalty() {
      return seen && { factor: sampling.repetitionPenalty, seen: seen.ids };
    },
    next(candidates, row) {
      const { k, logits, logSumExp } = candidates;
      if (!Number.isFinite(logSumExp[row]) || Number.isNaN(logits[row * k]))
        throw new EngineError("engine_failure", "the model's output is not a number");
      last = pick(candidates, row, wanted, bans, sampling, random);
      tokens++;
      seen?.add(last);
      return last;
    },
    logprob({ k, ids, logits, logSumExp }, row) {
      const at = (i: number) => ({ id: ids[i]!, logprob: logits[i]! - logSumExp[row]! });
      const begin = row * k;
      const top = Array.from({ length: Math.min(logprobs, vocab) }, (_, i) => at(begin + i));
      return { ...at(ids.indexOf(last, begin)), top };
    },
  };
}

// Scratch of `pick`, which is synchronous.
const chosen = new Int32Array(MAX_CANDIDATES);
const weights = new Float64Array(MAX_CANDIDATES);

function pick(
  { k, ids, logits }: Candidates,
  row: number,
  wanted: number,
  bans: (id: number) => boolean,
  { temperature, topP }: Sampling,
  random: () => number,
): number {
  let count = 0;
  let top = 0;
  let total = 0;
  for (let i = row * k; i < (row + 1) * k && count < wanted; i++) {
    if (bans(ids[i]!)) continue;
    if (count === 0) top = logits[i]!;
    const weight = Math.exp((logits[i]! - top) / temperature);
    chosen[count] = ids[i]!;
    weights[count++] = weight;
    total += weight;
  }
  if (wanted === 1 || count === 1) return chosen[0]!;
  // The smallest set of the likeliest whose share reaches topP.
  let kept = 0;
  let mass = 0;
  do mass += weights[kept++]!;
  while (kept < count && mass < topP * total);
  let rest = random() * mass;
  let at = 0;
  while (at < kept - 1 && (rest -= weights[at]!) >= 0) at++;
  return chosen[at]!;
}

/** A set of token ids that is an Int32Array at any time. */
function createSeen(promptIds: Iterable<number>) {
  const set = new Set(promptIds);
  let buffer = new Int32Array(2 * set.size + 64);
  buffer.set([...set]);
  let ids = buffer.subarray(0, set.size);
  return {
    get ids() {
      return ids;
    },
    add(id: number): void {
      if (set.has(id)) return;
      if (set.size === buffer.length) {
        const larger = new Int32Array(2 * buffer.length);
        larger.set(buffer);
        buffer = larger;
      }
      buffer[set.size] = id;
      ids = buffer.subarray(0, set.add(id).size);
    },
  };
}
