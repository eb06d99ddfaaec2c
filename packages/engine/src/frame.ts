/**
 * The tensors of decoder calls of one shape: arrays to fill, and bindings over them, made once for each number of
 * candidates and of penalised tokens. Knows names and dimensions; not what a call is for.
 */
import type { CacheView } from "./kv-pool.ts";
import { DECODER_IO as IO } from "./manifest.ts";
import type { Runtime } from "./ort.ts";
import type { Candidates, Penalty } from "./runner.ts";
import type { Binding, NamedTensors, Session } from "./session.ts";
import type { TensorData } from "./tensor.ts";

export type FrameShape = {
  tokens: number;
  /** Sequences. */
  batch: number;
  frequencies: number;
  /** Tokens whose successor is wanted. */
  rows: Int32Array;
  /** Instead of the embeddings of the tokens `at`. */
  features: { rows: Float32Array; at: Int32Array; width: number };
};

/** Penalised tokens come in powers of two from here on, so that a growing answer seldom needs another binding. */
const SEEN_AT_LEAST = 64;
/** Bindings of one frame; the oldest goes. */
const MAX_BINDINGS = 32;

type Bound = {
  seen: Int32Array;
  factors: Float32Array;
  binding: Binding;
  candidates: Candidates;
  scope: DisposableStack;
};

export class Frame implements Disposable {
  readonly ids: Int32Array;
  /** [tokens, frequencies] */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** [batch]: length of each sequence after the call, minus 1 */
  readonly lastIndex: Int32Array;
  readonly totalLength = new Int32Array(1);
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #shape: FrameShape;
  readonly #cache: CacheView;
  readonly #inputs: NamedTensors;
  readonly #scope = new DisposableStack();
  readonly #bound = new Map<string, Bound>();

  constructor(runtime: Runtime, session: Session, shape: FrameShape, cache: CacheView) {
    const { tokens, batch, frequencies, rows, features } = shape;
    this.#runtime = runtime;
    this.#session = session;
    this.#shape = shape;
    this.#cache = cache;
    this.ids = new Int32Array(tokens);
    this.cos = new Float32Array(tokens * frequencies);
    this.sin = new Float32Array(tokens * frequencies);
    this.lastIndex = new Int32Array(batch);
    const tensor = (data: TensorData, ...dims: number[]) =>
      this.#scope.use(runtime.tensor(data, dims));
    this.#inputs = {
      [IO.ids]: tensor(this.ids, tokens),
      [IO.features]: tensor(features.rows, features.at.length, features.width),
      [IO.featureIndex]: tensor(features.at, features.at.length),
      [IO.cos]: tensor(this.cos, tokens, frequencies),
      [IO.sin]: tensor(this.sin, tokens, frequencies),
      [IO.lastIndex]: tensor(this.lastIndex, batch),
      [IO.totalLength]: tensor(this.totalLength),
      [IO.rows]: tensor(rows, rows.length),
      ...cache.past,
    };
  }

  /**
   * Runs what the arrays say.
   * @returns candidates that the next call overwrites
   */
  async run(k: number, penalties: readonly (Penalty | undefined)[]): Promise<Candidates> {
    const longest = penalties.reduce(
      (most, penalty) => Math.max(most, penalty?.seen.length ?? 0),
      0,
    );
    const bound = this.#bind(k, roundSeen(longest));
    this.#penalise(bound, penalties);
    await bound.binding.run();
    return bound.candidates;
  }

  [Symbol.dispose](): void {
    for (const { scope } of this.#bound.values()) scope.dispose();
    this.#scope.dispose();
  }

  #penalise({ seen, factors }: Bound, penalties: readonly (Penalty | undefined)[]): void {
    const width = seen.length / this.#shape.rows.length;
    if (width === 0) return;
    for (const [row, penalty] of penalties.entries()) {
      const [begin, end] = [row * width, (row + 1) * width];
      const length = penalty?.seen.length ?? 0;
      if (penalty) seen.set(penalty.seen, begin);
      // The rest repeats a token: it gets the same score twice.
      seen.fill(penalty?.seen[0] ?? 0, begin + length, end);
      factors[row] = length === 0 ? 1 : penalty!.factor;
    }
  }

  #bind(k: number, seenLength: number): Bound {
    const key = `${k} ${seenLength}`;
    const known = this.#bound.get(key);
    if (known) return known;
    if (this.#bound.size === MAX_BINDINGS) {
      const [oldest, { scope }] = this.#bound.entries().next().value!;
      this.#bound.delete(oldest);
      scope.dispose();
    }
    const bound = this.#makeBound(k, seenLength);
    this.#bound.set(key, bound);
    return bound;
  }

  #makeBound(k: number, seenLength: number): Bound {
    const n = this.#shape.rows.length;
    const scope = new DisposableStack();
    const tensor = (data: TensorData, ...dims: number[]) =>
      scope.use(this.#runtime.tensor(data, dims));
    const seen = new Int32Array(n * seenLength);
    const factors = new Float32Array(n).fill(1);
    const ids = new Int32Array(n * k);
    const logits = new Float32Array(n * k);
    const logSumExp = new Float32Array(n);
    const binding = this.#session.bind(
      {
        ...this.#inputs,
        [IO.seen]: tensor(seen, n, seenLength),
        [IO.penalty]: tensor(factors, n, 1),
        [IO.k]: tensor(BigInt64Array.of(BigInt(k)), 1),
      },
      {
        [IO.candidateIds]: tensor(ids, n, k),
        [IO.candidateLogits]: tensor(logits, n, k),
        [IO.logSumExp]: tensor(logSumExp, n),
        ...this.#cache.present,
      },
    );
    const candidates = { k, ids, logits, logSumExp };
    return { seen, factors, binding, candidates, scope };
  }
}

function roundSeen(length: number): number {
  return length === 0 ? 0 : Math.max(SEEN_AT_LEAST, 2 ** Math.ceil(Math.log2(length)));
}
