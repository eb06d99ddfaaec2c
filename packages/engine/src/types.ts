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
  /** Output tokens at most; the rest of the context by default. */
  maxTokens?: number;
  /** Generation ends before the first of these in the answer (not in the thinking); the string itself is not emitted. */
  stop?: string[];
  /** Undefined leaves the template's `enable_thinking` undefined. */
  thinking?: boolean;
};

export type FinishReason = "stop" | "length";

/** One picture's patch grid [t, h, w]; t * h * w / merge^2 tokens. */
export type Grid = [t: number, h: number, w: number];

export type Usage = { promptTokens: number; imageTokens: number; completionTokens: number };

/** Milliseconds; first token and total count from the call, waiting for one's turn included. */
export type Timings = {
  preprocessMs: number;
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
      usage: Usage;
      timings: Timings;
    };
