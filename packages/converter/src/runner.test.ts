/** The engine's runner on a converted fixture: slots, limits and its manners on the event loop. */
import { join } from "node:path";
import { loadRunner, type Runner } from "@glimpse/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "./convert.ts";
import { type Case, caseChunk, fixture, greedy, referenceCases, temporary } from "./fixtures.ts";

const NO_FEATURES = new Float32Array(0);
const failure = { name: "EngineError", code: "engine_failure" };

let folder: Awaited<ReturnType<typeof temporary>>;
let dir: string;
let runner: Runner;
let text: Case;

beforeAll(async () => {
  folder = await temporary();
  dir = join(folder.path, "model");
  await convert({ from: fixture("plain"), to: dir });
  runner = await loadRunner(dir, { threads: 1 });
  text = (await referenceCases("plain"))[0]!; // no pictures
});

afterAll(async () => {
  await runner.close();
  await folder[Symbol.asyncDispose]();
});

function prompt(example: Case) {
  return caseChunk(example, NO_FEATURES, runner.shape.hidden, 0, example.ids.length);
}

async function answer(slot = runner.open(100)): Promise<number[]> {
  const tokens = await greedy(runner, slot, text, await runner.forward(slot, prompt(text)));
  slot.release();
  return tokens;
}

describe("slots", () => {
  it("do not disturb each other, and a used cache is as good as a new one", async () => {
    await answer(runner.open(900)); // leaves a bigger cache behind, full of other numbers
    const answers = await Promise.all([answer(), answer(), answer()]);
    for (const tokens of answers) expect(tokens).toEqual(text.tokens);
  });

  it("know how far they are, and take no more than they were opened for", async () => {
    const slot = runner.open(text.ids.length);
    await runner.forward(slot, prompt(text));
    expect(slot).toMatchObject({ capacity: text.ids.length, length: text.ids.length });
    const more = { ids: Int32Array.of(1), positions: Int32Array.of(12, 12, 12) };
    await expect(runner.forward(slot, more)).rejects.toMatchObject(failure);
    slot.release();
    slot.release();
    await expect(runner.forward(slot, more)).rejects.toMatchObject(failure);
  });

  it("reach as far as the context", () => {
    runner.open(runner.shape.context).release();
    expect(() => runner.open(runner.shape.context + 1)).toThrow(
      expect.objectContaining({ code: "context_too_long" }),
    );
  });

  it("take one call at a time, and are given back after it", async () => {
    const slot = runner.open(50);
    const call = runner.forward(slot, prompt(text));
    await expect(runner.forward(slot, prompt(text))).rejects.toMatchObject(failure);
    slot.release();
    await expect(call).resolves.toHaveLength(runner.shape.vocab);
    expect(await answer()).toEqual(text.tokens);
  });
});

describe("a chunk that cannot be is refused, and the slot goes on", () => {
  const positions = Int32Array.of(0, 0, 0);
  const ids = Int32Array.of(1);
  it.each([
    ["no tokens", { ids: new Int32Array(0), positions: new Int32Array(0) }],
    ["positions that do not match", { ids, positions: Int32Array.of(0) }],
    ["an id outside the vocabulary", { ids: Int32Array.of(320), positions }],
    ["a negative id", { ids: Int32Array.of(-1), positions }],
    [
      "features of another width",
      { ids, positions, features: { rows: new Float32Array(3), at: Int32Array.of(0) } },
    ],
    [
      "features outside the chunk",
      { ids, positions, features: { rows: new Float32Array(64), at: Int32Array.of(1) } },
    ],
  ])("%s", async (_, chunk) => {
    const slot = runner.open(100);
    await expect(runner.forward(slot, chunk)).rejects.toMatchObject(failure);
    expect(await answer(slot)).toEqual(text.tokens);
  });

  it("pictures that do not fill their grid, or do not merge", async () => {
    const { patchDim } = runner.shape;
    const pixels = new Float32Array(4 * patchDim);
    await expect(runner.encodeImages(pixels, [[1, 2, 4]])).rejects.toMatchObject(failure);
    await expect(
      runner.encodeImages(pixels, [
        [1, 1, 2],
        [1, 1, 2],
      ]),
    ).rejects.toMatchObject(failure);
  });
});

it("a picture's features do not depend on the pictures beside it", async () => {
  const { patchDim } = runner.shape;
  const pixels = new Float32Array(40 * patchDim).map((_, k) => Math.sin(k));
  const both = await runner.encodeImages(pixels, [
    [1, 4, 4],
    [1, 4, 6],
  ]);
  const second = await runner.encodeImages(pixels.subarray(16 * patchDim), [[1, 4, 6]]);
  expect(both.subarray(both.length - second.length)).toEqual(second);
});

it("timers fire while a graph runs", async () => {
  let fired = 0;
  const timer = setInterval(() => fired++, 1);
  const grid: [number, number, number] = [1, 64, 64];
  await runner.encodeImages(new Float32Array(64 * 64 * runner.shape.patchDim), [grid]);
  clearInterval(timer);
  expect(fired).toBeGreaterThan(5); // none would, were the run on this thread
});

it("closing waits for what runs and refuses what comes", async () => {
  const own = await loadRunner(dir, { threads: 1 });
  const slot = own.open(100);
  const call = own.forward(slot, prompt(text));
  const closed = own.close();
  await expect(own.forward(slot, prompt(text))).rejects.toMatchObject(failure);
  await expect(call).resolves.toHaveLength(own.shape.vocab);
  await closed;
  slot.release();
});

it("a folder that is no conversion is refused", async () => {
  await expect(loadRunner(fixture("plain"))).rejects.toMatchObject({ code: "invalid_checkpoint" });
});
