/**
 * One request on its way through the engine: its prompt, its place, its tokens so far, its pieces. Knows what its own
 * rows mean; knows nothing of other sequences, of when it runs, and of the runner.
 */
import type { OutputText, TokenTable } from "./output-text.ts";
import type { PieceSink } from "./piece-queue.ts";
import type { Positions } from "./positions.ts";
import type { Prompt } from "./prefix-cache.ts";
import type { Candidates, Chunk, Picture } from "./runner.ts";
import type { Sampler } from "./sampling.ts";
import type { Scheduled } from "./scheduler.ts";
import type { AnswerToken, FinishReason, Piece, Score, TokenLogprob } from "./types.ts";

/** Its pixels may go once the features are known. */
export type SequencePicture = Picture & {
  /** Names the pixel values and the grid. */
  key: string;
  /** Its first token's index in the prompt. */
  at: number;
  tokens: number;
  /** [tokens, hidden], once known. */
  features?: Float32Array;
};

export type SequenceOptions = {
  ids: Int32Array;
  positions: Positions;
  pictures: SequencePicture[];
  maxTokens: number;
  eosTokenIds: readonly number[];
  sampler: Sampler;
  text: OutputText;
  sink: PieceSink;
  tokens: TokenTable;
  /** Tokens of the answer whose log-probabilities are given at most; 0 if they are not asked for. */
  maxLogprobs: number;
  priority: number;
  /** On performance.now()'s clock, as all times here. */
  deadline: number;
  startedAt: number;
  preprocessMs: number;
};

export class Sequence implements Scheduled {
  readonly priority: number;
  readonly deadline: number;
  readonly promptLength: number;
  readonly prompt: Prompt;
  readonly pictures: SequencePicture[];
  readonly sampler: Sampler;
  /** How far the prompt's positions run behind its tokens. */
  readonly delta: number;
  length = 0;
  slot = -1;
  cachedTokens = 0;
  visionMs = 0;
  /** True once it has got its last piece or its error: its rows mean nothing any more. */
  ended = false;
  readonly #options: SequenceOptions;
  readonly #outputIds: number[] = [];
  /** Of the tokens that are not pieces yet. */
  #logprobs: TokenLogprob[] = [];
  readonly #answer: AnswerToken[] = [];
  /** Output tokens that have become pieces. */
  #told = 0;
  #finishReason: FinishReason | undefined;
  #firstTokenAt = 0;

  constructor(options: SequenceOptions) {
    const { ids, pictures, positions, sampler, priority, deadline } = options;
    this.#options = options;
    this.priority = priority;
    this.deadline = deadline;
    this.promptLength = ids.length;
    this.prompt = { ids, pictures: pictures.map(({ at, key }) => ({ at, key })) };
    this.pictures = pictures;
    this.sampler = sampler;
    this.delta = positions.delta;
  }

  /** The token that the next decode step feeds back. */
  get lastId(): number {
    return this.#outputIds.at(-1)!;
  }

  get imageTokens(): number {
    return this.pictures.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /** The next `count` tokens of the prompt, with the features of the pictures in them; all features must be known. */
  chunk(count: number): Chunk {
    const { ids, positions } = this.#options;
    const [begin, end, n] = [this.length, this.length + count, ids.length];
    const axes = new Int32Array(3 * count);
    for (let axis = 0; axis < 3; axis++)
      axes.set(positions.ids.subarray(axis * n + begin, axis * n + end), axis * count);
    const features = this.#features(begin, end);
    return { ids: ids.subarray(begin, end), positions: axes, ...(features && { features }) };
  }

  /** Picks the next token from its row. True when it wants no further one. Throws if the row is not numbers. */
  accept(candidates: Candidates, row: number): boolean {
    const { sampler, eosTokenIds, maxTokens, maxLogprobs } = this.#options;
    const id = sampler.next(candidates, row);
    if (maxLogprobs > 0) this.#logprobs.push(sampler.logprob(candidates, row));
    if (this.#outputIds.push(id) === 1) {
      this.#firstTokenAt = performance.now();
      for (const picture of this.pictures) delete picture.features; // read for good
    }
    if (eosTokenIds.includes(id)) this.#finishReason = "stop";
    else if (this.#outputIds.length === maxTokens) this.#finishReason = "length";
    return this.#finishReason !== undefined;
  }

  /** Output tokens that are not pieces yet. */
  get untold(): number {
    return this.#outputIds.length - this.#told;
  }

  /** Makes pieces of the tokens accepted since the last call. True when the sequence has ended by this. */
  tell(): boolean {
    if (this.ended) return true;
    const { text, eosTokenIds, sink } = this.#options;
    const fresh = this.#outputIds.slice(this.#told);
    if (eosTokenIds.includes(fresh.at(-1)!)) fresh.pop();
    const first = this.#told;
    this.#told = this.#outputIds.length;
    for (const piece of text.push(fresh)) sink.push(piece);
    this.#keepLogprobs(first);
    if (text.stopped) {
      this.#finishReason = "stop";
      this.#outputIds.length = text.taken;
    }
    if (this.#finishReason) this.#end(this.#finishReason);
    return this.ended;
  }

  /** Of the tokens just told, from output token `first` on, only the answer's keep theirs. */
  #keepLogprobs(first: number): void {
    const { text, tokens, maxLogprobs } = this.#options;
    if (maxLogprobs === 0) return;
    const spelled = (score: Score) => ({ ...score, bytes: [...tokens.bytes(score.id)] });
    for (const { at } of text.answer.slice(this.#answer.length, maxLogprobs)) {
      const { top, ...own } = this.#logprobs[at - first]!;
      this.#answer.push({ ...spelled(own), top: top.map(spelled) });
    }
    this.#answer.length = Math.min(text.answer.length, maxLogprobs); // a stop string takes tokens back
    this.#logprobs = [];
  }

  fail(reason: unknown): void {
    if (this.ended) return;
    this.ended = true;
    this.#options.sink.fail(reason);
  }

  #end(finishReason: FinishReason): void {
    const { ids, text, sink, startedAt, preprocessMs, maxLogprobs } = this.#options;
    this.ended = true;
    for (const piece of text.finish()) sink.push(piece);
    const end: Piece = {
      type: "end",
      finishReason,
      outputTokenIds: this.#outputIds,
      ...(maxLogprobs > 0 && { logprobs: this.#answer }),
      usage: {
        promptTokens: ids.length,
        imageTokens: this.imageTokens,
        cachedTokens: this.cachedTokens,
        completionTokens: this.#outputIds.length,
      },
      timings: {
        preprocessMs,
        visionMs: this.visionMs,
        firstTokenMs: this.#firstTokenAt - startedAt,
        totalMs: performance.now() - startedAt,
      },
    };
    sink.push(end);
    sink.end();
  }

  #features(begin: number, end: number): Chunk["features"] {
    const parts: Float32Array[] = [];
    const places: number[] = [];
    for (const { at, tokens, features } of this.pictures) {
      const [from, to] = [Math.max(at, begin), Math.min(at + tokens, end)];
      if (from >= to) continue;
      const hidden = features!.length / tokens;
      parts.push(features!.subarray((from - at) * hidden, (to - at) * hidden));
      for (let i = from; i < to; i++) places.push(i - begin);
    }
    if (parts.length === 0) return undefined;
    return { rows: joined(parts), at: Int32Array.from(places) };
  }
}

function joined(parts: Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
