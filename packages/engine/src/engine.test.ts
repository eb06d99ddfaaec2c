import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readGenerationSettings } from "./checkpoint.ts";
import { Engine } from "./engine.ts";
import { EngineError } from "./errors.ts";
import { NANO, readFixture } from "./fixtures.ts";
import { type ProcessorPool, startProcessorPool } from "./processor-pool.ts";
import type { Chunk, Runner } from "./runner.ts";
import type { GenerateRequest, Grid, Piece } from "./types.ts";

/** Stands in for the networks, which need a converted model: says a fixed line and records what it is given. */
class ScriptedRunner implements Runner {
  shape = { hidden: 4, vocab: 480, context: 64, merge: 2, patchDim: 1176 };
  script: number[] = [];
  chunks: Chunk[] = [];
  /** Slots that are open now. */
  slots = 0;
  failAt = Infinity;
  onForward: () => void = () => {};

  async encodeImages(pixels: Float32Array): Promise<Float32Array> {
    return new Float32Array((pixels.length / 1176 / 4) * 4);
  }

  open(capacity: number) {
    if (++this.slots > 1) throw new Error("two sequences at a time");
    let length = 0;
    const release = (): void => void this.slots--;
    return {
      capacity,
      get length() {
        return length;
      },
      release,
      grow: (by: number) => (length += by),
    };
  }

  async forward(slot: ReturnType<ScriptedRunner["open"]>, chunk: Chunk): Promise<Float32Array> {
    this.chunks.push(chunk);
    slot.grow(chunk.ids.length);
    if (slot.length > slot.capacity) throw new Error("the slot is too small");
    this.onForward();
    await new Promise(setImmediate);
    const step = this.chunks.length - 1;
    if (step === this.failAt) throw new EngineError("engine_failure", "the device is gone");
    const logits = new Float32Array(this.shape.vocab);
    logits[this.script[step % this.script.length]!] = 10;
    return logits;
  }

  async close(): Promise<void> {}
}

let processor: ProcessorPool;
let settings: Awaited<ReturnType<typeof readGenerationSettings>>;
let runner: ScriptedRunner;
let engine: Engine;

beforeAll(async () => {
  processor = await startProcessorPool({ dir: NANO, limits: { maxPixels: 1e6, context: 1e6 } }, 1);
  settings = await readGenerationSettings(NANO);
});
afterAll(() => processor.close());
beforeEach(() => {
  runner = new ScriptedRunner();
  engine = new Engine({ runner, processor, settings });
  runner.script = say("Hello");
});

const say = (text: string): number[] => [...Buffer.from(text)].map((byte) => byteId(byte));
/** The id of a printable ASCII byte's own token. */
function byteId(byte: number): number {
  const { bytes, offsets } = processor.vocabulary;
  for (let id = 0; id + 1 < offsets.length; id++)
    if (offsets[id + 1]! - offsets[id]! === 1 && bytes[offsets[id]!] === byte) return id;
  throw new Error(`no token for byte ${byte}`);
}

const ask = (request: Partial<GenerateRequest> = {}): GenerateRequest => ({
  messages: [{ role: "user", content: "hi" }],
  sampling: { temperature: 0 },
  ...request,
});

async function collect(request: GenerateRequest, signal?: AbortSignal): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of engine.generate(request, signal)) pieces.push(piece);
  return pieces;
}
const textOf = (pieces: Piece[]): string =>
  pieces.map((piece) => (piece.type === "delta" ? piece.text : "")).join("");
const refusal = (request: unknown): Promise<unknown> =>
  collect(request as GenerateRequest).catch((error: unknown) => error);

describe("a generation", () => {
  test("is a prompt, pieces of text, an end", async () => {
    const eos = settings.eosTokenIds.at(-1)!;
    runner.script = [...say("Hi!"), eos];
    const pieces = await collect(ask());
    expect(pieces.map((piece) => piece.type)).toEqual(["prompt", "delta", "delta", "delta", "end"]);
    expect(textOf(pieces)).toBe("Hi!");
    const [prompt] = pieces;
    const n = prompt!.type === "prompt" ? prompt!.promptTokenIds.length : 0;
    expect(pieces.at(-1)).toMatchObject({
      finishReason: "stop",
      outputTokenIds: [...say("Hi!"), eos],
      usage: { promptTokens: n, imageTokens: 0, completionTokens: 4 },
    });
  });

  test("ends at max tokens, and at the context's end", async () => {
    expect((await collect(ask({ maxTokens: 3 }))).at(-1)).toMatchObject({
      finishReason: "length",
      outputTokenIds: say("Hel"),
    });
    const whole = await collect(ask());
    const [prompt, end] = [whole[0]!, whole.at(-1)!];
    if (prompt.type !== "prompt" || end.type !== "end") throw new Error("unexpected pieces");
    expect(prompt.promptTokenIds.length + end.outputTokenIds.length).toBe(runner.shape.context);
  });

  test("ends before a stop string, which is in the ids and not in the text", async () => {
    const pieces = await collect(ask({ stop: ["lo", "x"] }));
    expect(textOf(pieces)).toBe("Hel");
    expect(pieces.at(-1)).toMatchObject({ finishReason: "stop", outputTokenIds: say("Hello") });
  });

  test("gives the runner the picture's rows in their places, and positions that go on after it", async () => {
    const { data, grid } = readFixture<{ data: string; grid: Grid }>("images")[0]!;
    const tokens = (grid[1] * grid[2]) / 4;
    runner.shape.context = 200;
    const pieces = await collect(
      ask({
        messages: [
          {
            role: "user",
            content: [
              { type: "image", image: Buffer.from(data, "base64") },
              { type: "text", text: "?" },
            ],
          },
        ],
        maxTokens: 2,
      }),
    );
    expect(pieces[0]).toMatchObject({ imageGrids: [grid], imageTokens: tokens });
    const [prefill, decode] = runner.chunks;
    expect(prefill!.features!.rows).toHaveLength(tokens * 4);
    expect(
      [...prefill!.features!.at].every((at) => prefill!.ids[at] === settings.imageTokenId),
    ).toBe(true);
    expect(Math.max(...prefill!.positions)).toBeLessThan(prefill!.ids.length - 1);
    expect([...decode!.positions]).toEqual(Array(3).fill(Math.max(...prefill!.positions) + 1));
  });

  test("with the same seed is the same, with another is not", async () => {
    runner.shape.context = 60;
    runner.forward = async () =>
      Float32Array.from({ length: 480 }, (_, id) => (id < 256 ? 1 : -99));
    const answer = async (seed: number) =>
      (await collect(ask({ sampling: { temperature: 1, seed } }))).at(-1);
    const ids = (piece?: Piece): number[] => (piece?.type === "end" ? piece.outputTokenIds : []);
    const [a, b, c] = [ids(await answer(1)), ids(await answer(1)), ids(await answer(2))];
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });
});

describe("an end before the end", () => {
  test("aborting stops at the next step and frees the slot", async () => {
    const control = new AbortController();
    runner.onForward = () => runner.chunks.length === 3 && control.abort(new Error("canceled"));
    await expect(collect(ask(), control.signal)).rejects.toThrow("canceled");
    expect(runner.chunks).toHaveLength(3);
    expect(runner.slots).toBe(0);
    expect(textOf(await collect(ask({ maxTokens: 5 }), undefined))).not.toBe("");
  });

  test("an aborted signal does nothing at all", async () => {
    await expect(collect(ask(), AbortSignal.abort(new Error("canceled")))).rejects.toThrow(
      "canceled",
    );
    expect(runner.chunks).toHaveLength(0);
  });

  test("leaving the loop frees the slot", async () => {
    for await (const piece of engine.generate(ask())) if (piece.type === "delta") break;
    expect(runner.slots).toBe(0);
    await collect(ask({ maxTokens: 1 }));
  });

  test("a failure of the runner frees the slot and the next generation runs", async () => {
    runner.failAt = 1;
    await expect(collect(ask())).rejects.toMatchObject({ code: "engine_failure" });
    expect(runner.slots).toBe(0);
    runner.failAt = Infinity;
    await collect(ask({ maxTokens: 1 }));
  });
});

test("concurrent calls take turns", async () => {
  const answers = await Promise.all([1, 2, 3].map((n) => collect(ask({ maxTokens: n }))));
  expect(answers.map((pieces) => pieces.at(-1))).toMatchObject(
    [1, 2, 3].map((n) => ({ usage: { completionTokens: n } })),
  );
  expect(runner.slots).toBe(0);
});

describe("refuses", () => {
  test("a prompt over the context, with both counts", async () => {
    const error = await refusal(ask({ messages: [{ role: "user", content: "x".repeat(100) }] }));
    expect(error).toMatchObject({
      code: "context_too_long",
      message: expect.stringMatching(/\d{3,} tokens.* 64/),
    });
    expect(runner.slots).toBe(0);
  });

  test.each([
    ["no messages", { messages: [] }],
    ["an empty message", { messages: [{ role: "user", content: "" }] }],
    ["blank parts", { messages: [{ role: "user", content: [{ type: "text", text: " \n" }] }] }],
  ])("%s as invalid_prompt", async (_what, change) => {
    expect(await refusal({ ...ask(), ...change })).toMatchObject({ code: "invalid_prompt" });
  });

  test.each([
    ["sampling.temperature", { sampling: { temperature: -1 } }],
    ["sampling.temperature", { sampling: { temperature: Number.NaN } }],
    ["sampling.topP", { sampling: { topP: 2 } }],
    ["sampling.topK", { sampling: { topK: 1.5 } }],
    ["sampling.repetitionPenalty", { sampling: { repetitionPenalty: 0 } }],
    ["maxTokens", { maxTokens: 0 }],
    ["stop.0", { stop: [""] }],
    ["messages.0.role", { messages: [{ role: "tool", content: "x" }] }],
  ])("%s out of range as invalid_request", async (field, change) => {
    expect(await refusal({ ...ask(), ...change })).toMatchObject({
      code: "invalid_request",
      message: `"${field}" is not valid`,
    });
  });

  test("a picture that cannot be used", async () => {
    const content = [{ type: "image" as const, image: Buffer.from("GIF89a") }];
    expect(await refusal(ask({ messages: [{ role: "user", content }] }))).toMatchObject({
      code: "unsupported_image_media_type",
    });
  });
});
