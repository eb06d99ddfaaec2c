/** The engine's vocabulary: what goes in, what comes out. No tensors, no tokens' text, no I/O. */

/** A picture is its encoded file bytes (JPEG, PNG, WebP); the engine decodes it. */
export type Part = { type: "text"; text: string } | { type: "image"; image: Uint8Array };

export type Message = {
  role: "system" | "user" | "assistant";
  content: string | Part[];
};

export type Sampling = {
  /** 0 means greedy. */
  temperature: number;
  topP: number;
  /** 0 means no limit. */
  topK: number;
  /** 1 means none; counts prompt and output tokens, as transformers does. */
  repetitionPenalty: number;
  /** Same seed, same answer. Without one the engine draws one. */
  seed?: number;
};

export type GenerateRequest = {
  messages: Message[];
  /** Missing fields take the checkpoint's generation_config.json. */
  sampling?: Partial<Sampling>;
  /** Output tokens at most; the rest of the context by default. More than that is refused. */
  maxTokens?: number;
  /** The model may not end its answer before this many output tokens; stop strings may. */
  minTokens?: number;
  /** Generation ends before the first of these in the answer (not in the thinking); the string itself is not emitted. */
  stop?: string[];
  /** Undefined leaves the template's `enable_thinking` undefined. */
  thinking?: boolean;
  /** Log-probabilities of the answer's tokens, and of this many (0 to 20) of the likeliest at each place. */
  logprobs?: number;
  /** Lower runs first; equals run in the order of their calls. 0 by default. */
  priority?: number;
  /** Unix time in milliseconds at which the answer is of no use any more. */
  deadline?: number;
};

/** One answer's scores at most, its tokens' and their `top` together. */
export const MAX_SCORES = 4_096;

export type FinishReason = "stop" | "length";

/** One picture's patch grid [t, h, w]; t * h * w / merge^2 tokens. */
export type Grid = [t: number, h: number, w: number];

export type Usage = {
  promptTokens: number;
  /** Of the prompt: tokens of pictures. */
  imageTokens: number;
  /** Of the prompt: tokens whose keys and values were still known from another request. */
  cachedTokens: number;
  completionTokens: number;
};

/** A natural logarithm, over the whole vocabulary, of what the model says after the repetition penalty, before temperature. */
export type Score = { id: number; logprob: number };
/** `top` are the likeliest, best first. */
export type TokenLogprob = Score & { top: Score[] };

/** `bytes` are the token's text in UTF-8; a character can take several tokens. */
export type SpelledScore = Score & { bytes: number[] };
export type AnswerToken = SpelledScore & { top: SpelledScore[] };

/** Milliseconds; first token and total count from the call, waiting included. */
export type Timings = {
  preprocessMs: number;
  /** Vision calls that this request's pictures were part of. */
  visionMs: number;
  firstTokenMs: number;
  totalMs: number;
};

/** What `generate` yields: one `prompt`, then pieces of text, then one `end`. */
export type Piece =
  | {
      type: "prompt";
      promptTokenIds: number[];
      imageGrids: Grid[];
      imageTokens: number;
      /** SHA-256 (hex) of all pixel_values as little-endian float32; of nothing when there is no picture. */
      pixelDigest: string;
    }
  | { type: "reasoning"; text: string }
  | { type: "delta"; text: string }
  | {
      type: "end";
      finishReason: FinishReason;
      outputTokenIds: number[];
      /**
       * If asked for: one for each token of the answer's text, not of its thinking nor of control, from the first on, as
       * far as MAX_SCORES go. A stop string that is cut out takes the tokens with it that it covers.
       */
      logprobs?: AnswerToken[];
      usage: Usage;
      timings: Timings;
    };
