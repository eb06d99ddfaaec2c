import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readGenerationSettings } from "./checkpoint.ts";
import { createCore } from "./core.ts";
import { DEFAULT_LIMITS, Engine, type EngineLimits } from "./engine.ts";
import { AllocationError, EngineError } from "./errors.ts";
import { type FakeCall, FakeRunner } from "./fake-runner.ts";
import { createDice, type Dice, NANO, readFixture } from "./fixtures.ts";
import { type ProcessorPool, startProcessorPool } from "./processor-pool.ts";
import type { ModelInput } from "./processor.ts";
import { type GenerateRequest, type Grid, MAX_SCORES, type Message, type Piece } from "./types.ts";

let processor: ProcessorPool;
let settings: Awaited<ReturnType<typeof readGenerationSettings>>;
let runner: FakeRunner;
let engine: Engine;
const opened: Engine[] = [];

beforeAll(async () => {
  processor = await startProcessorPool({ dir: NANO, limits: { maxPixels: 1e6, context: 1e6 } }, 1);
  settings = await readGenerationSettings(NANO);
});
afterAll(() => processor.close());
beforeEach(() => open());
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

/** What the processor made of messages, which are asked about again and again. */
const inputs = new Map<Message[], Promise<ModelInput>>();
function remembered(messages: Message[], thinking?: boolean): Promise<ModelInput> {
  const input = inputs.get(messages) ?? processor.process(messages, thinking);
  inputs.set(messages, input);
  return input;
}

/** Opens the engine of the test; the last one opened is `engine`, over `runner`. */
function open(
  shape: Partial<FakeRunner["shape"]> = {},
  limits: Partial<EngineLimits> = {},
): Engine {
  runner = new FakeRunner(shape);
  // The threads go on: they are those of all engines here.
  const shared = { ...processor, process: remembered, close: async () => {} };
  const all = { ...DEFAULT_LIMITS, tellEveryMs: 0, ...limits };
  const core = createCore({ runner, settings, vocabulary: processor.vocabulary, limits: all });
  const { slots } = runner.shape;
  engine = new Engine({ core, processor: shared, slots, maxPictures: all.maxPictures });
  opened.push(engine);
  return engine;
}

const textIds = (text: string): number[] => [...Buffer.from(text)].map((byte) => byteId(byte));
/** The id of a printable ASCII byte's own token. */
function byteId(byte: number): number {
  const { bytes, offsets } = processor.vocabulary;
  for (let id = 0; id + 1 < offsets.length; id++)
    if (offsets[id + 1]! - offsets[id]! === 1 && bytes[offsets[id]!] === byte) return id;
  throw new Error(`no token for byte ${byte}`);
}

/** Lets the model say these tokens over and over, whatever it is asked. */
function say(ids: number[]): void {
  let promptLength: number | undefined;
  runner.logits = (history) => {
    promptLength ??= history.length;
    const logits = Array<number>(480).fill(0);
    logits[ids[(history.length - promptLength) % ids.length]!] = 10;
    return logits;
  };
}

const ask = (request: Partial<GenerateRequest> = {}): GenerateRequest => ({
  messages: [{ role: "user", content: "hi" }],
  sampling: { temperature: 0, repetitionPenalty: 1 },
  maxTokens: 12,
  ...request,
});

async function collect(
  request: GenerateRequest,
  signal?: AbortSignal,
  on: Engine = engine,
): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of on.generate(request, signal)) pieces.push(piece);
  return pieces;
}
const textOf = (pieces: Piece[]): string =>
  pieces.map((piece) => (piece.type === "delta" ? piece.text : "")).join("");
function endOf(pieces: Piece[]): Extract<Piece, { type: "end" }> {
  const end = pieces.at(-1);
  if (end?.type !== "end") throw new Error("no end");
  return end;
}
const refusal = (request: unknown, signal?: AbortSignal): Promise<unknown> =>
  collect(request as GenerateRequest, signal).catch((error: unknown) => error);
const codeOf = (error: unknown): unknown => (error instanceof EngineError ? error.code : error);
const sizesOf = (call: string): number[] =>
  runner.calls.filter((one) => one.call === call).map(({ size }) => size);

/** A picture of one colour, 2 * 2 tokens for every 56 pixels a side. */
const picture = (colour: number, width = 112, height = 112): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: { r: colour, g: 9, b: 99 } } })
    .png()
    .toBuffer();
const show = (image: Uint8Array, text = "what?"): Message[] => [
  {
    role: "user",
    content: [
      { type: "image", image },
      { type: "text", text },
    ],
  },
];

describe("a generation", () => {
  test("is a prompt, pieces of text, an end", async () => {
    const eos = settings.eosTokenIds.at(-1)!;
    say([...textIds("Hi!"), eos]);
    const pieces = await collect(ask());
    expect(pieces.map((piece) => piece.type)).toEqual(["prompt", "delta", "delta", "delta", "end"]);
    expect(textOf(pieces)).toBe("Hi!");
    const [prompt] = pieces;
    const n = prompt!.type === "prompt" ? prompt!.promptTokenIds.length : 0;
    expect(pieces.at(-1)).toMatchObject({
      finishReason: "stop",
      outputTokenIds: [...textIds("Hi!"), eos],
      usage: { promptTokens: n, imageTokens: 0, cachedTokens: 0, completionTokens: 4 },
    });
  });

  test("ends at max tokens, and at the context's end", async () => {
    say(textIds("Hello"));
    expect((await collect(ask({ maxTokens: 3 }))).at(-1)).toMatchObject({
      finishReason: "length",
      outputTokenIds: textIds("Hel"),
    });
    open({ capacity: 64 });
    say(textIds("Hello"));
    const { messages, sampling } = ask();
    const whole = await collect({ messages, sampling: sampling! });
    const [prompt, end] = [whole[0]!, endOf(whole)];
    if (prompt.type !== "prompt") throw new Error("unexpected pieces");
    expect(prompt.promptTokenIds.length + end.outputTokenIds.length).toBe(64);
  });

  test("ends before a stop string, which is in the ids and not in the text", async () => {
    say(textIds("Hello"));
    const pieces = await collect(ask({ stop: ["lo", "x"] }));
    expect(textOf(pieces)).toBe("Hel");
    expect(pieces.at(-1)).toMatchObject({ finishReason: "stop", outputTokenIds: textIds("Hello") });
    const last = await collect(ask({ stop: ["lo", "x"], maxTokens: 5 }));
    expect(endOf(last).finishReason).toBe("stop");
  });

  test("does not end by itself before the least number of tokens", async () => {
    const eos = settings.eosTokenIds[0]!;
    say([eos]);
    const { outputTokenIds } = endOf(await collect(ask({ minTokens: 3 })));
    expect(outputTokenIds).toHaveLength(4);
    expect(outputTokenIds.indexOf(eos)).toBe(3);
  });

  test("gives the picture's rows to the runner in their places, and positions that go on after it", async () => {
    const { data, grid } = readFixture<{ data: string; grid: Grid }>("images")[0]!;
    const tokens = (grid[1] * grid[2]) / 4;
    const given: { ids: number[]; at: number[]; rows: number; positions: number[] }[] = [];
    const prefill = runner.prefill.bind(runner);
    runner.prefill = (slot, past, chunk, ...rest) => {
      const { rows, at } = chunk.features ?? { rows: [], at: [] };
      const { ids, positions } = chunk;
      given.push({ ids: [...ids], at: [...at], rows: rows.length, positions: [...positions] });
      return prefill(slot, past, chunk, ...rest);
    };
    const decoded: number[] = [];
    const decode = runner.decode.bind(runner);
    runner.decode = (ids, pasts, positions, ...rest) => {
      decoded.push(...positions);
      return decode(ids, pasts, positions, ...rest);
    };
    const messages = show(Buffer.from(data, "base64"));
    const pieces = await collect(ask({ messages, maxTokens: 3, minTokens: 3 }));
    expect(pieces[0]).toMatchObject({ imageGrids: [grid], imageTokens: tokens });
    const [chunk] = given;
    expect(chunk!.rows).toBe(tokens * 4);
    expect(chunk!.at).toHaveLength(tokens);
    expect(chunk!.at.every((at) => chunk!.ids[at] === settings.imageTokenId)).toBe(true);
    const last = Math.max(...chunk!.positions);
    expect(last).toBeLessThan(chunk!.ids.length - 1);
    expect(decoded).toEqual([last + 1, last + 2]);
  });

  test("gives log-probabilities for each token if asked for", async () => {
    const end = endOf(await collect(ask({ logprobs: 2, maxTokens: 4, minTokens: 4 })));
    expect(end.logprobs!.map(({ id }) => id)).toEqual(end.outputTokenIds);
    for (const { id, logprob, bytes, top } of end.logprobs!) {
      expect(top).toHaveLength(2);
      expect(top[0]).toEqual({ id, logprob, bytes }); // greedy
      expect(top[1]!.logprob).toBeLessThanOrEqual(logprob);
      expect(Math.exp(logprob)).toBeLessThanOrEqual(1);
    }
    expect(endOf(await collect(ask()))).not.toHaveProperty("logprobs");
  });

  test("gives them for the answer alone, and as far as there is room", async () => {
    const { added } = processor.vocabulary;
    const thinking = ["<think>", "</think>"].map((text) => added.get(text)!);
    say([thinking[0]!, ...textIds("Hm"), thinking[1]!, ...textIds("AB")]);
    const pieces = await collect(ask({ logprobs: 1, stop: ["B"] }));
    expect(textOf(pieces)).toBe("A");
    expect(endOf(pieces).logprobs!.map(({ id }) => id)).toEqual(textIds("A"));
    expect(endOf(pieces).logprobs![0]!.bytes).toEqual([...Buffer.from("A")]);

    open({ capacity: 1000 });
    say(textIds("A"));
    const long = endOf(await collect(ask({ logprobs: 20, maxTokens: 500 })));
    expect(long.outputTokenIds).toHaveLength(500);
    expect(long.logprobs).toHaveLength(Math.floor(MAX_SCORES / 21));
  });

  test("with the same seed is the same, with another is not", async () => {
    const answer = async (seed: number): Promise<number[]> =>
      endOf(await collect(ask({ sampling: { temperature: 1, seed } }))).outputTokenIds;
    const [a, b, c] = [await answer(1), await answer(1), await answer(2)];
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
  });
});

describe("together with others", () => {
  const WORDS = [
    "Is it?",
    "Say more.",
    "x",
    "The quick brown fox jumps over the lazy dog.",
    "你好，世界",
  ];

  /** A random request; a few pictures and beginnings, so that they repeat. */
  function randomRequest(dice: Dice, pictures: Buffer[]): GenerateRequest {
    const content: Exclude<Message["content"], string> = [];
    for (let n = dice.pick([0, 0, 1, 1, 2]); n > 0; n--)
      content.push({ type: "image", image: dice.pick(pictures) });
    const words = Array.from({ length: dice.int(1, 5) }, () => dice.pick(WORDS));
    content.push({ type: "text", text: words.join(" ") });
    const system: Message = { role: "system", content: "Answer truly, briefly and with care." };
    const sampling = dice.pick<GenerateRequest["sampling"]>([
      { temperature: 0, repetitionPenalty: 1 },
      { temperature: 0, repetitionPenalty: 1.2 },
      { temperature: 1, topK: 3, topP: 0.7, repetitionPenalty: 1.1, seed: dice.int(0, 1e9) },
      { temperature: 0.7, topK: 0, topP: 1, repetitionPenalty: 1, seed: dice.int(0, 1e9) },
    ]);
    return {
      messages: [...(dice.int(0, 2) === 0 ? [system] : []), { role: "user", content }],
      sampling: sampling!,
      maxTokens: dice.int(1, dice.pick([4, 40])),
      priority: dice.pick([0, 0, 1]),
      ...(dice.int(0, 4) === 0 && { stop: [dice.pick(["e", "in", "."])] }),
      ...(dice.int(0, 6) === 0 && { logprobs: 3 }),
    };
  }

  test("each of 500 random requests gets the answer that it gets alone (seed 31)", async () => {
    const dice = createDice(31);
    const sides = [112, 112, 112, 168, 224];
    const pictures = await Promise.all(sides.map((side, i) => picture(40 * i, side, 112)));
    const requests = Array.from({ length: 500 }, () => randomRequest(dice, pictures));

    const off = { featureCacheBytes: 0, prefixCacheBytes: 0, chunkTokens: 1e6 };
    const lonely = open({ slots: 1 }, off);
    const alone: Piece[][] = [];
    for (const request of requests) alone.push(await collect(request, undefined, lonely));

    const crowd = open(
      { slots: 16 },
      {
        chunkTokens: 64,
        chunkSteps: Infinity,
        featureCacheBytes: 4000,
        prefixCacheBytes: 90_000,
        tellEveryMs: 1,
      },
    );
    const canceled = new Error("canceled");
    await Promise.all(
      requests.map(async (request, i) => {
        const after = dice.int(0, 6) === 0 ? dice.int(0, 8) : Infinity;
        for (let turns = dice.int(0, 60); turns > 0; turns--) await new Promise(setImmediate);
        const control = new AbortController();
        const pieces: Piece[] = [];
        try {
          if (after === 0) setImmediate(() => control.abort(canceled));
          for await (const piece of crowd.generate(request, control.signal))
            if (pieces.push(piece) === after) control.abort(canceled);
        } catch (error) {
          expect(error).toBe(canceled);
        }
        const whole = alone[i]!;
        if (pieces.at(-1)?.type !== "end") {
          expect(after).toBeLessThan(Infinity);
          expect(textOf(whole).startsWith(textOf(pieces))).toBe(true);
          return;
        }
        const { outputTokenIds, finishReason, logprobs } = endOf(whole);
        expect(textOf(pieces)).toBe(textOf(whole));
        expect(endOf(pieces)).toMatchObject({
          outputTokenIds,
          finishReason,
          ...(logprobs && { logprobs }),
        });
      }),
    );
    const { running, waiting, pictures: seen, prefixes } = crowd.stats;
    expect({ running, waiting }).toEqual({ running: 0, waiting: 0 });
    expect(Math.max(...sizesOf("decode"))).toBe(16);
    expect(prefixes.hits).toBeGreaterThan(20);
    expect(seen.hits).toBeGreaterThan(20);
    await crowd.close();
    expect(runner.snapshots).toBe(0);
  }, 300_000);

  test("a long prompt lets the others go on after each chunk, a picture after each call", async () => {
    open({ slots: 4, capacity: 2000 }, { chunkTokens: 32 });
    say(textIds("abc"));
    const arrival = Promise.withResolvers<void>();
    runner.before = (call) => (call === "decode" ? arrival.promise : undefined);
    const short = [1, 2, 3].map(() => collect(ask({ maxTokens: 150 })));
    const images = await Promise.all([picture(1), picture(2, 168), picture(3, 224)]);
    const content: Exclude<Message["content"], string> = images.map((image) => ({
      type: "image",
      image,
    }));
    content.push({ type: "text", text: "The quick brown fox jumps over it. ".repeat(12) });
    const long = ask({ messages: [{ role: "user", content }], maxTokens: 3 });
    for await (const piece of engine.generate(long)) if (piece.type === "prompt") arrival.resolve();
    await Promise.all(short);
    let [tokens, encodes, steps] = [0, 0, 0];
    for (const { call, size } of runner.calls) {
      if (call === "vision") encodes++;
      if (call === "prefill") tokens += size;
      if (call === "decode") [tokens, encodes, steps] = [0, 0, steps + 1];
      if (steps > 0) {
        expect(tokens).toBeLessThanOrEqual(35);
        expect(encodes * tokens).toBe(0);
        expect(encodes).toBeLessThanOrEqual(1);
      }
    }
    expect(sizesOf("prefill").length).toBeGreaterThan(10);
    expect(sizesOf("vision")).toEqual([1, 1, 1]);
  });

  test("who does not read holds up nobody, and loses nothing", async () => {
    say(textIds("abc"));
    const lazy = engine.generate(ask({ maxTokens: 100 }));
    await lazy.next();
    await collect(ask({ maxTokens: 150 }));
    expect(engine.stats).toMatchObject({ running: 0, outputTokens: 250 });
    const rest: Piece[] = [];
    for await (const piece of lazy) rest.push(piece);
    expect(rest.map(({ type }) => type)).toEqual(["delta", "end"]);
    expect(textOf(rest)).toHaveLength(100);
  });

  test("the pieces of a step are read while the next one runs", async () => {
    say(textIds("abc"));
    let read = 0;
    const late: number[] = [];
    runner.before = async (call) => {
      if (call !== "decode") return;
      await new Promise(setImmediate);
      late.push(sizesOf("decode").length - read);
    };
    for await (const piece of engine.generate(ask({ maxTokens: 9 })))
      if (piece.type === "delta") read++;
    expect(late).toEqual(Array(8).fill(0));
  });

  test("lower priorities go first", async () => {
    open({ slots: 1 });
    say(textIds("abc"));
    const all = Promise.withResolvers<void>();
    runner.before = (call) => (call === "decode" ? all.promise : undefined);
    const order: number[] = [];
    const one = async (priority: number): Promise<void> => {
      await collect(ask({ priority, maxTokens: 3 }));
      order.push(priority);
    };
    const first = one(5);
    while (engine.stats.running === 0) await new Promise(setImmediate);
    const others = [1, 3, -2].map(one);
    while (engine.stats.waiting < 3) await new Promise(setImmediate);
    all.resolve();
    await Promise.all([first, ...others]);
    expect(order).toEqual([5, -2, 1, 3]);
  });
});

describe("pictures", () => {
  test("the same one is encoded once, for those who wait and those who come later", async () => {
    const image = await picture(77);
    const answers = await Promise.all(
      ["a", "b", "c"].map((text) => collect(ask({ messages: show(image, text) }))),
    );
    await collect(ask({ messages: show(image, "d") }));
    expect(sizesOf("vision")).toEqual([1]);
    expect(engine.stats.pictures).toMatchObject({ hits: 3, encoded: 1 });
    expect(Math.max(...answers.map((pieces) => endOf(pieces).timings.visionMs))).toBeGreaterThan(0);
  });

  test("those of one grid share a call, as many as fit into it", async () => {
    open({ slots: 2 }, { chunkTokens: 40 });
    const images = await Promise.all([1, 2, 3, 4, 5].map((colour) => picture(colour))); // 16 tokens each
    images.push(await picture(6, 224));
    const messages: Message[] = [
      { role: "user", content: images.map((image) => ({ type: "image" as const, image })) },
    ];
    await collect(ask({ messages }));
    expect(sizesOf("vision")).toEqual([2, 2, 1, 1]);
  });

  test("without a cache nothing is kept", async () => {
    open({}, { featureCacheBytes: 0, prefixCacheBytes: 0 });
    const request = ask({ messages: show(await picture(77)) });
    const [first, second] = [await collect(request), await collect(request)];
    expect(endOf(first).outputTokenIds).toEqual(endOf(second).outputTokenIds);
    expect(sizesOf("vision")).toEqual([1, 1]);
    expect(runner.snapshots).toBe(0);
  });
});

describe("a prompt that begins like another", () => {
  test("reads only the rest: the same picture and text, not another picture", async () => {
    const [image, other] = await Promise.all([picture(77, 224, 224), picture(78, 224, 224)]);
    const cached = async (messages: Message[]): Promise<number> =>
      endOf(await collect(ask({ messages }))).usage.cachedTokens;
    expect(await cached(show(image, "What is it that you see here?"))).toBe(0);
    const again = await cached(show(image, "What is it that you hear?"));
    expect(again).toBeGreaterThan(68);
    expect(await cached(show(other, "What is it that you see here?"))).toBe(0); // the picture is near the start
    expect(engine.stats.prefixes).toMatchObject({ hits: 1, misses: 2, tokens: again });
  });

  test("is answered as without the cache; at least two tokens are read", async () => {
    const request = ask({
      messages: [{ role: "user", content: "The quick brown fox jumps over it." }],
    });
    const [first, second] = [await collect(request), await collect(request)];
    expect(endOf(second).outputTokenIds).toEqual(endOf(first).outputTokenIds);
    const { cachedTokens, promptTokens } = endOf(second).usage;
    expect(cachedTokens).toBe(promptTokens - 2);
    expect(sizesOf("prefill")).toEqual([promptTokens, 2]);
  });

  test("what is not used goes when there is no room", async () => {
    open({}, { prefixCacheBytes: 10_000 }); // 100 tokens
    for (let i = 0; i < 9; i++)
      await collect(ask({ messages: [{ role: "user", content: `${i}${"abcdefgh ".repeat(9)}` }] }));
    expect(runner.snapshots).toBe(1);
    expect(engine.stats.prefixes.bytes).toBeLessThanOrEqual(10_000);
  });
});

describe("an end before the end", () => {
  test("aborting stops at the next step and frees the slot", async () => {
    say(textIds("abc"));
    const control = new AbortController();
    runner.before = () => {
      if (sizesOf("decode").length === 3) control.abort(new Error("canceled"));
    };
    await expect(collect(ask(), control.signal)).rejects.toThrow("canceled");
    await collect(ask({ maxTokens: 2 }));
    expect(sizesOf("decode")).toEqual([1, 1, 1, 1]);
    expect(engine.stats.running).toBe(0);
  });

  test("an abort is heard while waiting, preparing, encoding and reading", async () => {
    open({ slots: 1, capacity: 1000 }, { chunkTokens: 16 });
    say(textIds("abc"));
    const messages = show(await picture(1), "long ".repeat(60));
    for (const call of ["vision", "prefill"]) {
      const control = new AbortController();
      runner.before = (now) => {
        if (now === call) control.abort(new Error(call));
      };
      await expect(collect(ask({ messages }), control.signal)).rejects.toThrow(call);
    }
    runner.before = () => {};
    expect(sizesOf("prefill")).toHaveLength(1);
    const running = collect(ask({ maxTokens: 100 }));
    const waiting = new AbortController();
    const waits = collect(ask(), waiting.signal);
    while (engine.stats.waiting === 0) await new Promise(setImmediate);
    waiting.abort(new Error("enough"));
    await expect(waits).rejects.toThrow("enough");
    const preparing = new AbortController();
    const prepares = collect(ask({ messages }), preparing.signal);
    preparing.abort(new Error("never mind"));
    await expect(prepares).rejects.toThrow("never mind");
    expect(textOf(await running)).toHaveLength(100);
  });

  test("an aborted signal does nothing at all", async () => {
    const signal = AbortSignal.abort(new Error("canceled"));
    await expect(collect(ask(), signal)).rejects.toThrow("canceled");
    expect(runner.calls).toHaveLength(0);
  });

  test("leaving the loop frees the slot", async () => {
    say(textIds("abc"));
    for await (const piece of engine.generate(ask())) if (piece.type === "delta") break;
    await collect(ask({ maxTokens: 1 }));
    expect(engine.stats).toMatchObject({ running: 0, waiting: 0 });
  });

  test("passing the deadline does, in any phase", async () => {
    open({ slots: 1, capacity: 5000 });
    say(textIds("abc"));
    runner.before = () => sleep(1);
    const late = (ms: number): Promise<unknown> =>
      refusal(ask({ deadline: Date.now() + ms, maxTokens: 4000 }));
    const codes = (await Promise.all([late(-1), late(300), late(300)])).map(codeOf);
    expect(codes).toEqual(Array(3).fill("deadline_exceeded"));
    expect(engine.stats).toMatchObject({ running: 0, waiting: 0 });
    await collect(ask({ deadline: Date.now() + 1e12, maxTokens: 1 }));
  });

  test("closing fails what runs", async () => {
    open({ slots: 1, capacity: 1000 });
    say(textIds("abc"));
    runner.before = () => sleep(1); // else the answer may be over before it is seen to run
    const running = refusal(ask({ maxTokens: 600 }));
    while (engine.stats.running === 0) await new Promise(setImmediate);
    await engine.close();
    expect(await running).toMatchObject({ code: "engine_failure" });
    expect(codeOf(await refusal(ask()))).toBe("engine_failure");
  });
});

describe("a failure", () => {
  const requests = (): GenerateRequest[] =>
    ["a", "b", "c", "d", "e"].map((content) =>
      ask({
        messages: [{ role: "user", content: `${content} is it?` }],
        maxTokens: 60,
        minTokens: 60,
      }),
    );
  const answers = async (): Promise<number[][]> => {
    const all = await Promise.all(requests().map((request) => collect(request)));
    return all.map((pieces) => endOf(pieces).outputTokenIds);
  };
  const noMemory = (): never => {
    throw new AllocationError("no memory");
  };
  const refuseIf = (condition: (call: FakeCall, size: number) => boolean): void => {
    runner.before = (call, size) => {
      if (condition(call, size)) noMemory();
    };
  };

  test("to allocate splits a batch, and it grows again", async () => {
    const wanted = await answers();
    open({ slots: 5 });
    let scarce = 2;
    refuseIf((call, size) => call === "decode" && size > 2 && scarce-- > 0);
    expect(await answers()).toEqual(wanted);
    const large = sizesOf("decode").filter((size) => size > 2);
    expect(large.length).toBeGreaterThan(2); // two failed
    expect(scarce).toBeLessThan(0);
  });

  test("to allocate splits a chunk and a vision call", async () => {
    const images = await Promise.all([picture(1), picture(2)]);
    const content = images.map((image) => ({ type: "image" as const, image }));
    const request = ask({ messages: [{ role: "user", content }] });
    const wanted = endOf(await collect(request)).outputTokenIds;
    open();
    refuseIf((call, size) => (call === "vision" && size > 1) || (call === "prefill" && size > 10));
    expect(endOf(await collect(request)).outputTokenIds).toEqual(wanted);
    expect(sizesOf("vision")).toEqual([2, 1, 1]);
  });

  test("to allocate fails only what does not fit alone", async () => {
    const [small, large] = await Promise.all([picture(1), picture(2, 224, 224)]);
    const encode = runner.encodeImages.bind(runner);
    runner.encodeImages = async (pictures) =>
      pictures.some(({ grid }) => grid[1] > 8) ? noMemory() : encode(pictures);
    const [a, b, c] = await Promise.all([
      refusal(ask({ messages: show(large) })),
      collect(ask({ messages: show(small) })),
      collect(ask()),
    ]);
    expect(a).toMatchObject({ code: "engine_failure", message: "no memory" });
    expect([endOf(b), endOf(c)]).toHaveLength(2);
    refuseIf((call) => call === "decode");
    const codes = await Promise.all(requests().map((request) => refusal(request)));
    expect(codes.map(codeOf)).toEqual(Array(5).fill("engine_failure"));
    refuseIf((call) => call === "prefill");
    expect(codeOf(await refusal(ask()))).toBe("engine_failure");
    runner.before = () => {};
    expect(endOf(await collect(ask()))).toBeDefined();
  });

  test.each([new EngineError("engine_failure", "the device is gone"), new TypeError("a mistake")])(
    "of any other kind ends the engine, which says so first: %s",
    async (cause) => {
      runner.before = () => {
        if (sizesOf("decode").length === 5) throw cause;
      };
      const order: string[] = [];
      const told = engine.failed.then((failure) => {
        order.push("engine");
        return failure;
      });
      const outcomes = requests().map(async (request) => {
        const outcome = await refusal(request);
        order.push("request");
        return codeOf(outcome);
      });
      expect(await Promise.all(outcomes)).toEqual(Array(5).fill("engine_failure"));
      expect((await told).code).toBe("engine_failure");
      expect(order[0]).toBe("engine");
      const calls = runner.calls.length;
      expect(codeOf(await refusal(ask()))).toBe("engine_failure");
      expect(runner.calls).toHaveLength(calls);
    },
  );

  test("of one row, whose numbers are none, is that row's alone", async () => {
    const wanted = await answers();
    open({ slots: 5 });
    let broken = false;
    runner.logits = (history, slot) => {
      if (!broken && slot === 2 && sizesOf("decode").length > 6) {
        broken = true;
        return Array<number>(runner.shape.vocab).fill(Number.NaN);
      }
      return runner.hashed(history);
    };
    const outcomes = await Promise.all(requests().map((request) => refusal(request)));
    const failed = outcomes.filter((outcome) => outcome instanceof EngineError);
    expect(failed.map(codeOf)).toEqual(["engine_failure"]);
    const others = outcomes.map(
      (outcome) => Array.isArray(outcome) && endOf(outcome as Piece[]).outputTokenIds,
    );
    others.forEach((ids, i) => ids && expect(ids).toEqual(wanted[i]));
    expect(others.filter(Boolean)).toHaveLength(4);
  });
});

describe("refuses", () => {
  test("a prompt over the context, with both counts", async () => {
    open({ capacity: 64 });
    const error = await refusal(ask({ messages: [{ role: "user", content: "x".repeat(100) }] }));
    expect(error).toMatchObject({
      code: "context_too_long",
      message: expect.stringMatching(/\d{3,} tokens.* 64/),
    });
  });

  test("more output than the context has room for", async () => {
    open({ capacity: 64 });
    const { usage } = endOf(await collect(ask({ maxTokens: 1 })));
    const left = 64 - usage.promptTokens;
    expect(codeOf(await refusal(ask({ maxTokens: left + 1 })))).toBe("context_too_long");
    expect(await refusal(ask({ maxTokens: left }))).toBeInstanceOf(Array);
  });

  test("more pictures than allowed, before it looks at them", async () => {
    open({}, { maxPictures: 2 });
    const content = Array.from({ length: 3 }, () => ({
      type: "image" as const,
      image: Buffer.from("?"),
    }));
    expect(await refusal(ask({ messages: [{ role: "user", content }] }))).toMatchObject({
      code: "too_many_images",
      message: expect.stringContaining("at most 2"),
    });
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
    ["minTokens", { minTokens: -1 }],
    ["logprobs", { logprobs: 21 }],
    ["priority", { priority: 0.5 }],
    ["deadline", { deadline: "soon" }],
    ["stop.0", { stop: [""] }],
    ["messages.0.role", { messages: [{ role: "tool", content: "x" }] }],
  ])("%s out of range as invalid_request", async (field, change) => {
    expect(await refusal({ ...ask(), ...change })).toMatchObject({
      code: "invalid_request",
      message: `"${field}" is not valid`,
    });
  });

  test("a least number of tokens over the largest", async () => {
    expect(codeOf(await refusal(ask({ minTokens: 5, maxTokens: 4 })))).toBe("invalid_request");
  });

  test("a picture that cannot be used", async () => {
    const content = [{ type: "image" as const, image: Buffer.from("GIF89a") }];
    expect(await refusal(ask({ messages: [{ role: "user", content }] }))).toMatchObject({
      code: "unsupported_image_media_type",
    });
  });
});
