/**
 * Every call of the way that a card takes, driven on the CPU: the runtime's own memory instead of arrays of ours, under
 * a limit, reached by graphs only. It must give the very numbers of the plain way.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  AllocationError,
  Engine,
  EngineError,
  type EngineOptions,
  loadRunner,
  type Runner,
  type RunnerOptions,
  type Snapshot,
} from "@glimpse/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "./convert.ts";
import {
  type Case,
  caseChunk,
  casePictures,
  concatenate,
  fixture,
  logitsOf,
  referenceCases,
  temporary,
} from "./fixtures.ts";

const NANO = fileURLToPath(new URL("../../../models/nano", import.meta.url));
const MIB = 2 ** 20;
const SIZES = { threads: 1, slots: 4, capacity: 150 };
const limited = (mib: number): RunnerOptions => ({
  ...SIZES,
  device: { type: "cpu", memoryLimitBytes: mib * MIB },
});

let folder: Awaited<ReturnType<typeof temporary>>;
const dirs = { plain: "", legacy: "" };

beforeAll(async () => {
  folder = await temporary();
  for (const name of ["plain", "legacy"] as const) {
    dirs[name] = join(folder.path, name);
    const dtype = name === "legacy" ? "fp16" : "fp32";
    await convert({ from: fixture(name), to: dirs[name], dtype });
  }
});
afterAll(() => folder[Symbol.asyncDispose]());

async function withRunner<T>(
  dir: string,
  options: RunnerOptions,
  work: (runner: Runner) => Promise<T>,
): Promise<T> {
  const runner = await loadRunner(dir, options);
  try {
    return await work(runner);
  } finally {
    await runner.close();
  }
}

/** Uses every call, each after every other, and gives all logits that come of it. */
async function everything(runner: Runner, cases: Case[]): Promise<Float32Array[]> {
  const { hidden, vocab } = runner.shape;
  const found: Float32Array[] = [];
  for (const [seed, example] of cases.entries()) {
    const { length } = example.ids;
    const features = concatenate(await runner.encodeImages(casePictures(seed, example, runner)));
    const read = async (slot: number, from: number, to: number) => {
      const chunk = caseChunk(example, features, hidden, from, to);
      const penalty = { factor: 1.2, seen: example.ids.slice(0, 3) };
      found.push(features, logitsOf(await runner.prefill(slot, from, chunk, vocab, penalty)));
    };
    const decode = async (slots: number) => {
      const at = new Int32Array(slots).fill(length);
      const ids = Int32Array.from(at, (_, row) => row + 7);
      const candidates = await runner.decode(ids, at, at, vocab);
      for (const row of ids.keys()) found.push(logitsOf(candidates, row));
    };
    await read(2, 0, 5);
    await read(2, 5, length);
    const snapshot = runner.save(2, length);
    runner.copy(2, 0, length);
    await read(2, 0, length - 1); // what the snapshot holds is its own
    runner.restore(snapshot, 1, length);
    runner.restore(snapshot, 3, 4);
    runner.copy(1, 2, length);
    snapshot.release();
    await decode(3);
    await read(3, 4, length);
    await decode(4);
    runner.copy(3, 0, length); // close waits for it
  }
  return found;
}

it.each(["plain", "legacy"] as const)(
  "the runtime's own memory gives the same numbers: %s",
  async (name) => {
    const cases = await referenceCases(name);
    const run = (options: RunnerOptions) =>
      withRunner(dirs[name], options, (runner) => everything(runner, cases));
    const wanted = await run(SIZES);
    expect(wanted.length).toBeGreaterThan(10 * cases.length);
    expect(await run(limited(64))).toEqual(wanted);
    expect(await run(limited(64))).toEqual(wanted); // in an environment that was used and closed
  },
);

describe("a limit", () => {
  it("that the cache does not fit into is refused at load, and leaves nothing behind", async () => {
    const options = { ...limited(1), slots: 64 };
    await expect(loadRunner(dirs.plain, options)).rejects.toMatchObject({
      code: "engine_failure",
      message: expect.stringMatching(/no memory for 64 sequences of 150 positions/),
    });
    await withRunner(dirs.plain, limited(16), async (runner) => {
      expect(runner.shape.slots).toBe(4);
    });
  });

  it("ends saving, until something is released", async () => {
    await withRunner(dirs.plain, limited(2), async (runner) => {
      const ids = new Int32Array(20).fill(3);
      const read = () => runner.prefill(0, 0, { ids, positions: new Int32Array(60) }, 1);
      await read();
      const saved: Snapshot[] = [];
      const saveAll = () => {
        for (let i = 0; i < 1000; i++) saved.push(runner.save(0, 150));
      };
      expect(saveAll).toThrow(AllocationError);
      expect(saved.length).toBeGreaterThan(2);
      for (const snapshot of saved) snapshot.release();
      await read();
      runner.save(0, 150).release();
      await read();
    });
  });

  it("is each engine's own", async () => {
    const many = { ...limited(1), slots: 64 };
    await withRunner(dirs.plain, limited(16), async (first) => {
      const wanted = await everything(first, await referenceCases("plain"));
      await expect(loadRunner(dirs.plain, many)).rejects.toThrow("no memory");
      await withRunner(dirs.plain, limited(64), async (second) => {
        expect(await everything(second, await referenceCases("plain"))).toEqual(wanted);
        expect(await everything(first, await referenceCases("plain"))).toEqual(wanted);
      });
      expect(await everything(first, await referenceCases("plain"))).toEqual(wanted);
    });
  });
});

it("memory that runs short splits batches and chunks, and changes no answer", async () => {
  const dir = join(folder.path, "nano");
  await convert({ from: NANO, to: dir });
  const options = (bytes?: number): EngineOptions => ({
    slots: 16,
    capacity: 600,
    threads: 1,
    prefixCacheBytes: 0,
    device: { type: "cpu", ...(bytes !== undefined && { memoryLimitBytes: bytes }) },
  });
  const load = (bytes?: number) => Engine.load(dir, options(bytes));
  const wanted = await answersOf(await load());
  let [tooSmall, enough] = [32 * MIB, 256 * MIB];
  while (enough - tooSmall > MIB / 16) {
    const middle = Math.round((tooSmall + enough) / 2);
    try {
      await withRunner(dir, options(middle), async () => undefined);
      enough = middle;
    } catch (error) {
      expect(error).toBeInstanceOf(AllocationError);
      tooSmall = middle;
    }
  }
  // From where nothing fits beside the cache to where everything does.
  let [failed, split] = [0, 0];
  for (let bytes = enough, steps = Infinity; steps > wanted.steps; bytes += MIB / 4) {
    expect(bytes).toBeLessThan(enough + 32 * MIB);
    const found = await answersOf(await load(bytes));
    steps = found.answers.includes("engine_failure") ? Infinity : found.steps;
    for (const [i, answer] of found.answers.entries())
      if (answer !== "engine_failure") expect(answer).toBe(wanted.answers[i]);
    failed += found.answers.filter((answer) => answer === "engine_failure").length;
    if (steps > wanted.steps && steps < Infinity) split++;
  }
  expect(failed).toBeGreaterThan(0);
  expect(split).toBeGreaterThan(0);
}, 120_000);

/** A long prompt and short ones at once: token ids, or the code of the error. Closes the engine. */
async function answersOf(engine: Engine): Promise<{ answers: string[]; steps: number }> {
  const prompts = [" picture".repeat(450), ...Array.from("abcdefghijk")].map((content) => ({
    messages: [{ role: "user" as const, content }],
    sampling: { temperature: 0 },
    minTokens: 20,
    maxTokens: 20,
  }));
  const answer = async (request: (typeof prompts)[number]): Promise<string> => {
    try {
      for await (const piece of engine.generate(request))
        if (piece.type === "end") return piece.outputTokenIds.join();
    } catch (error) {
      if (error instanceof EngineError) return error.code;
      throw error;
    }
    throw new Error("no end");
  };
  const answers = await Promise.all(prompts.map(answer));
  const { steps } = engine.stats;
  await engine.close();
  return { answers, steps };
}

it("CUDA runs fp16 conversions only, and says so", async () => {
  await expect(loadRunner(dirs.plain, { device: { type: "cuda" } })).rejects.toMatchObject({
    code: "engine_failure",
    message: expect.stringMatching(/CUDA runs fp16 conversions, .* is fp32/),
  });
});
