/** A prepared request to a sequence: the checkpoint's defaults, what the model has room for, where pictures stand. */
import type { GenerationSettings } from "./checkpoint.ts";
import { EngineError } from "./errors.ts";
import { createOutputText, type TokenTable } from "./output-text.ts";
import type { PieceSink } from "./piece-queue.ts";
import { promptPositions } from "./positions.ts";
import type { ModelInput } from "./processor.ts";
import type { RunnerShape } from "./runner.ts";
import { createSampler } from "./sampling.ts";
import { Sequence, type SequencePicture } from "./sequence.ts";
import { type GenerateRequest, MAX_SCORES, type Sampling } from "./types.ts";

export type Model = { shape: RunnerShape; settings: GenerationSettings; tokens: TokenTable };

/** When the request came, how long it may take, and what preparing it took; on performance.now()'s clock. */
export type Clock = { startedAt: number; deadline: number; preprocessMs: number };

/** Its prompt piece is in its sink. Throws `context_too_long` if prompt and output do not fit. */
export function createSequence(
  input: ModelInput,
  request: Omit<GenerateRequest, "messages">,
  { shape, settings, tokens }: Model,
  clock: Clock,
  sink: PieceSink,
): Sequence {
  const { imageTokenId, eosTokenIds } = settings;
  const { minTokens, logprobs, stop, priority } = request;
  const maxTokens = outputLimit(input.ids.length, request.maxTokens, shape);
  const pictures = placePictures(input, imageTokenId, shape);
  const sampler = createSampler(
    {
      sampling: completed(settings, request.sampling),
      vocab: shape.vocab,
      eosTokenIds,
      ...(minTokens !== undefined && { minTokens }),
      ...(logprobs !== undefined && { logprobs }),
    },
    input.ids,
  );
  const sequence = new Sequence({
    ...clock,
    ids: Int32Array.from(input.ids),
    positions: promptPositions(input.ids, input.grids, imageTokenId, shape.merge),
    pictures,
    maxTokens,
    eosTokenIds,
    sampler,
    text: createOutputText(tokens, input.ids, stop ?? []),
    sink,
    tokens,
    maxLogprobs: logprobs === undefined ? 0 : Math.floor(MAX_SCORES / (1 + logprobs)),
    priority: priority ?? 0,
  });
  sink.push({
    type: "prompt",
    promptTokenIds: input.ids,
    imageGrids: input.grids,
    imageTokens: sequence.imageTokens,
    pixelDigest: input.digest,
  });
  return sequence;
}

function outputLimit(
  promptTokens: number,
  wanted: number | undefined,
  { capacity }: RunnerShape,
): number {
  const left = capacity - promptTokens;
  if (left <= 0 || (wanted ?? 0) > left) {
    const asked = wanted === undefined ? "" : ` and ${wanted} are asked for`;
    throw new EngineError(
      "context_too_long",
      `the prompt has ${promptTokens} tokens${asked}; the context is ${capacity}, answer included`,
    );
  }
  return wanted ?? left;
}

function completed({ sampling }: GenerationSettings, wanted: Partial<Sampling> = {}) {
  const seed = wanted.seed ?? Math.floor(Math.random() * 2 ** 32);
  return { ...sampling, ...wanted, seed };
}

function placePictures(
  { ids, pixels, grids, digests }: ModelInput,
  imageTokenId: number,
  { merge, patchDim }: RunnerShape,
): SequencePicture[] {
  let value = 0;
  let token = 0;
  return grids.map((grid, i) => {
    const patches = grid[0] * grid[1] * grid[2];
    const tokens = patches / merge ** 2;
    const at = ids.indexOf(imageTokenId, token);
    token = at + tokens;
    const begin = value;
    value += patches * patchDim;
    const key = `${digests[i]} ${grid.join("x")}`;
    return { key, at, tokens, grid, pixels: pixels.subarray(begin, value) };
  });
}
