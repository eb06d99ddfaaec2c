/** The engine's runner on a converted fixture: slots, limits, candidates and its manners on the event loop. */
import { join } from "node:path";
import { loadRunner, type Picture, type Runner } from "@glimpse/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "./convert.ts";
import {
  type Case,
  caseChunk,
  copyOf,
  fixture,
  greedy,
  largestDifference,
  logitsOf,
  readSafetensors,
  referenceCases,
  temporary,
  writeSafetensors,
} from "./fixtures.ts";

const failure = { name: "EngineError", code: "engine_failure" };
const SLOTS = 6;

let folder: Awaited<ReturnType<typeof temporary>>;
let dir: string;
let runner: Runner;
let text: Case;

beforeAll(async () => {
  folder = await temporary();
  dir = join(folder.path, "model");
  await convert({ from: fixture("plain"), to: dir });
  runner = await loadRunner(dir, { threads: 1, slots: SLOTS, capacity: 150 });
  text = (await referenceCases("plain"))[0]!; // no pictures
});

afterAll(async () => {
  await runner.close();
  await folder[Symbol.asyncDispose]();
});

function prompt() {
  return caseChunk(text, new Float32Array(0), runner.shape.hidden, 0, text.ids.length);
}

/** All logits after the prompt, which is then in the slot. */
async function prefill(slot: number): Promise<Float32Array> {
  return logitsOf(await runner.prefill(slot, 0, prompt(), runner.shape.vocab));
}

/** All logits after one more token behind the prompt in slot 0. */
async function next(id: number): Promise<Float32Array> {
  const at = Int32Array.of(text.ids.length);
  return logitsOf(await runner.decode(Int32Array.of(id), at, at, runner.shape.vocab));
}

describe("slots", () => {
  it("do not disturb each other, and a used one is as good as a new one", async () => {
    const logits = await prefill(0);
    const after = await next(7);
    for (let slot = 1; slot < SLOTS; slot++) expect(await prefill(slot)).toEqual(logits);
    expect(await next(7)).toEqual(after);
  });

  it("are copied as far as one likes", async () => {
    await prefill(0);
    const after = await next(7);
    await prefill(5);
    await runner.prefill(0, 0, { ids: Int32Array.of(1), positions: new Int32Array(3) }, 1);
    runner.copy(5, 0, text.ids.length);
    expect(await next(7)).toEqual(after);
  });

  it("are saved, and restored elsewhere, a part too", async () => {
    const { vocab } = runner.shape;
    await prefill(3);
    const snapshot = runner.save(3, text.ids.length);
    expect(snapshot).toMatchObject({ length: text.ids.length });
    await runner.prefill(3, 0, { ids: Int32Array.of(1), positions: new Int32Array(3) }, 1);
    const logits = await prefill(0);
    const after = await next(7);
    await runner.prefill(0, 0, { ids: Int32Array.of(1), positions: new Int32Array(3) }, 1);
    runner.restore(snapshot, 0, text.ids.length);
    expect(await next(7)).toEqual(after);

    runner.restore(snapshot, 4, 5);
    const rest = caseChunk(text, new Float32Array(0), runner.shape.hidden, 5, text.ids.length);
    expect(logitsOf(await runner.prefill(4, 5, rest, vocab))).toEqual(logits);
    expect(() => runner.restore(snapshot, 4, text.ids.length + 1)).toThrow("does not hold");
    snapshot.release();
    expect(() => runner.restore(snapshot, 4, 5)).toThrow("does not hold");
  });

  it("are as many and as long as the memory for them", async () => {
    // 2 layers, keys and values, 2 heads of 16 float32 elements: 512 bytes a position
    const held = await loadRunner(dir, { threads: 1, slots: 4, memoryBytes: 4 * 512 * 100 });
    expect(held.shape).toMatchObject({ slots: 4, capacity: 95 }); // multiples of 8, one for padding
    await held.close();
    await expect(loadRunner(dir, { slots: 4, memoryBytes: 4000 })).rejects.toMatchObject(failure);
  });
});

describe("candidates", () => {
  it("are the k best, best first, beside what makes them log-probabilities", async () => {
    const logits = await prefill(0);
    const order = [...logits.keys()].toSorted((a, b) => logits[b]! - logits[a]!);
    const { ids, logits: best, logSumExp } = await runner.prefill(1, 0, prompt(), 9);
    expect([...ids]).toEqual(order.slice(0, 9));
    expect([...best]).toEqual(order.slice(0, 9).map((id) => logits[id]));
    const sum = Math.log(logits.reduce((total, logit) => total + Math.exp(logit), 0));
    expect(logSumExp[0]).toBeCloseTo(sum, 5);
  });

  it("with equal logits come lowest id first", async () => {
    const from = await copyOf("plain", folder.path);
    const path = join(from, "model.safetensors");
    const tensors = await readSafetensors(path);
    tensors.get("lm_head.weight")!.bytes.fill(0);
    await writeSafetensors(path, tensors);
    const to = join(folder.path, "equal");
    await convert({ from, to });
    const equal = await loadRunner(to, { threads: 1, slots: 1 });
    for (const k of [1, 2, 40]) {
      const { ids } = await equal.prefill(0, 0, prompt(), k);
      expect([...ids]).toEqual(Array.from({ length: k }, (_, i) => i));
    }
    await equal.close();
  });

  it("are penalised row by row, each token once", async () => {
    const { vocab } = runner.shape;
    const logits = await prefill(0);
    const penalised = (factor: number, seen: Int32Array) =>
      logits.map((logit, id) => {
        if (!seen.includes(id)) return logit;
        return logit < 0 ? logit * Math.fround(factor) : logit / Math.fround(factor);
      });
    const few = { factor: 1.3, seen: Int32Array.of(3, 0, 319) };
    const many = { factor: 0.7, seen: Int32Array.from({ length: 200 }, (_, i) => i + 50) };
    for (const penalty of [few, many]) {
      const scores = logitsOf(await runner.prefill(1, 0, prompt(), vocab, penalty));
      expect(scores).toEqual(penalised(penalty.factor, penalty.seen));
    }

    for (let slot = 0; slot < 3; slot++) await prefill(slot);
    const ids = Int32Array.of(7, 7, 7);
    const at = new Int32Array(3).fill(text.ids.length);
    const plain = logitsOf(await runner.decode(ids, at, at, vocab));
    const mixed = await runner.decode(ids, at, at, vocab, [few, undefined, many]);
    const [first, second, third] = [0, 1, 2].map((row) => logitsOf(mixed, row));
    expect(second).toEqual(plain);
    expect(largestDifference(first!, plain)).toBeGreaterThan(0);
    expect(largestDifference(third!, first!)).toBeGreaterThan(0);
    expect(logitsOf(await runner.decode(ids, at, at, vocab))).toEqual(plain);
  });
});

describe("a call that cannot be is refused, and the next one goes on", () => {
  const positions = Int32Array.of(0, 0, 0);
  const ids = Int32Array.of(1);
  const chunk = { ids, positions };
  const one = Int32Array.of(1);
  it.each<[what: string, call: () => Promise<unknown>]>([
    ["no tokens", () => runner.prefill(0, 0, { ids: new Int32Array(0), positions: ids }, 1)],
    ["positions that do not match", () => runner.prefill(0, 0, { ids, positions: ids }, 1)],
    [
      "an id outside the vocabulary",
      () => runner.prefill(0, 0, { ids: Int32Array.of(320), positions }, 1),
    ],
    ["a negative id", () => runner.prefill(0, 0, { ids: Int32Array.of(-1), positions }, 1)],
    [
      "features of another width",
      () =>
        runner.prefill(
          0,
          0,
          { ...chunk, features: { rows: new Float32Array(3), at: Int32Array.of(0) } },
          1,
        ),
    ],
    [
      "features outside the chunk",
      () =>
        runner.prefill(0, 0, { ...chunk, features: { rows: new Float32Array(64), at: one } }, 1),
    ],
    ["a slot that is none", () => runner.prefill(SLOTS, 0, chunk, 1)],
    ["more than a slot holds", () => runner.prefill(0, 150, chunk, 1)],
    ["no candidates", () => runner.prefill(0, 0, chunk, 0)],
    [
      "a penalty for a token that is none",
      () => runner.prefill(0, 0, chunk, 1, { factor: 2, seen: Int32Array.of(320) }),
    ],
    ["rows without lengths", () => runner.decode(one, new Int32Array(0), one, 1)],
    [
      "more rows than slots",
      () => {
        const rows = new Int32Array(SLOTS + 1);
        return runner.decode(rows, rows, rows, 1);
      },
    ],
    [
      "pictures that do not fill their grid",
      () =>
        runner.encodeImages([
          { grid: [1, 2, 4], pixels: new Float32Array(4 * runner.shape.patchDim) },
        ]),
    ],
    [
      "pictures that do not merge",
      () =>
        runner.encodeImages([
          { grid: [1, 1, 2], pixels: new Float32Array(2 * runner.shape.patchDim) },
        ]),
    ],
  ])("%s", async (_, call) => {
    await expect(call()).rejects.toMatchObject(failure);
    const candidates = await runner.prefill(0, 0, prompt(), 1);
    expect(await greedy(runner, text, candidates)).toEqual(text.tokens);
  });

  it("another call while one runs", async () => {
    const call = runner.prefill(0, 0, prompt(), 1);
    await expect(runner.prefill(1, 0, prompt(), 1)).rejects.toMatchObject(failure);
    expect(() => runner.copy(0, 1, 1)).toThrow("busy");
    await expect(call).resolves.toMatchObject({ k: 1 });
  });
});

it("a picture's features do not depend on the pictures beside it", async () => {
  const { patchDim } = runner.shape;
  const picture = (seed: number, ...grid: Picture["grid"]): Picture => ({
    grid,
    pixels: new Float32Array(grid[1] * grid[2] * patchDim).map((_, k) => Math.sin(seed + k)),
  });
  const pictures = [
    picture(1, 1, 4, 4),
    picture(2, 1, 2, 2), // one token
    picture(3, 1, 4, 6),
    picture(4, 1, 4, 4),
    picture(5, 1, 2, 2),
    picture(6, 1, 4, 4),
  ];
  const together = await runner.encodeImages(pictures);
  for (const [i, own] of pictures.entries()) {
    expect((await runner.encodeImages([own]))[0], `picture ${i}`).toEqual(together[i]);
  }
  expect(await runner.encodeImages([])).toEqual([]);
});

it("timers fire while a graph runs", async () => {
  let fired = 0;
  const timer = setInterval(() => fired++, 1);
  const pixels = new Float32Array(64 * 64 * runner.shape.patchDim);
  await runner.encodeImages([{ grid: [1, 64, 64], pixels }]);
  clearInterval(timer);
  expect(fired).toBeGreaterThan(5); // none would, were the run on this thread
});

it("closing waits for what runs and refuses what comes", async () => {
  const own = await loadRunner(dir, { threads: 1, slots: 1 });
  const call = own.prefill(0, 0, prompt(), 1);
  const closed = own.close();
  await expect(own.prefill(0, 0, prompt(), 1)).rejects.toMatchObject(failure);
  await expect(call).resolves.toMatchObject({ k: 1 });
  await closed;
});

it("a folder that is no conversion is refused", async () => {
  await expect(loadRunner(fixture("plain"))).rejects.toMatchObject({ code: "invalid_checkpoint" });
});
