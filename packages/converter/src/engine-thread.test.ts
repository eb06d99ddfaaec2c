/** What crosses from the engine's thread: pieces, errors, ends; and that a slot is free whoever ends it. */
import { cp, truncate } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  Engine,
  EngineError,
  type GenerateRequest,
  GRAPH_FILES,
  type Piece,
} from "@glimpse/engine";
import { afterAll, beforeAll, expect, test } from "vitest";
import { convert } from "./convert.ts";
import { temporary } from "./fixtures.ts";

const NANO = fileURLToPath(new URL("../../../models/nano", import.meta.url));
/** An answer that goes on until the slot is full. */
const LONG: GenerateRequest = {
  messages: [{ role: "user", content: "What is in the picture?" }],
  sampling: { temperature: 0 },
  minTokens: 400,
  maxTokens: 400,
};

let folder: Awaited<ReturnType<typeof temporary>>;
let model: string;
let engine: Engine;

beforeAll(async () => {
  folder = await temporary();
  model = join(folder.path, "model");
  await convert({ from: NANO, to: model });
  engine = await Engine.load(model, { slots: 2, capacity: 512, tellEveryMs: 0 });
}, 120_000);
afterAll(async () => {
  await engine.close();
  await folder[Symbol.asyncDispose]();
});

async function collect(request: GenerateRequest, signal?: AbortSignal): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of engine.generate(request, signal)) pieces.push(piece);
  return pieces;
}

const isIdle = () => expect.poll(() => engine.stats).toMatchObject({ running: 0, waiting: 0 });

test("an answer comes in pieces: the prompt first, the end last", async () => {
  const pieces = await collect({ ...LONG, minTokens: 40, maxTokens: 40 });
  expect(pieces[0]?.type).toBe("prompt");
  expect(pieces.at(-1)).toMatchObject({ type: "end", usage: { completionTokens: 40 } });
  expect(pieces.length).toBeGreaterThan(3);
  const { timings } = pieces.at(-1) as Extract<Piece, { type: "end" }>;
  expect(timings.firstTokenMs).toBeGreaterThan(0);
  expect(timings.totalMs).toBeGreaterThanOrEqual(timings.firstTokenMs);
});

test("a refusal keeps its code and its words", async () => {
  const refused = collect({ ...LONG, maxTokens: 511 });
  await expect(refused).rejects.toMatchObject({ code: "context_too_long" });
  await expect(refused).rejects.toThrow(/context is 512/);
  await expect(refused).rejects.toBeInstanceOf(EngineError);
});

test("an abort and a reader who leaves free the slot", async () => {
  const control = new AbortController();
  const aborted = collect(LONG, control.signal);
  for await (const piece of engine.generate(LONG)) if (piece.type === "delta") break;
  await expect.poll(() => engine.stats.running).toBe(1);
  control.abort(new Error("enough"));
  await expect(aborted).rejects.toThrow("enough");
  await isIdle();
});

test("a deadline is the same moment in both threads", async () => {
  const late = collect({ ...LONG, deadline: Date.now() + 40 });
  await expect(late).rejects.toMatchObject({ code: "deadline_exceeded" });
  const inTime = collect({ ...LONG, deadline: Date.now() + 60_000 });
  expect((await inTime).at(-1)?.type).toBe("end");
  await isIdle();
});

test("a model that cannot be loaded says so from the thread", async () => {
  const broken = join(folder.path, "broken");
  await cp(model, broken, { recursive: true });
  await truncate(join(broken, GRAPH_FILES.decoder), 100);
  await expect(Engine.load(broken)).rejects.toMatchObject({ code: "engine_failure" });
});

test("closing fails what runs and refuses what comes", async () => {
  const other = await Engine.load(model, { slots: 1, capacity: 512 });
  const running = other.generate(LONG);
  expect((await running.next()).value).toMatchObject({ type: "prompt" });
  await other.close();
  await expect(running.next().then(() => running.next())).rejects.toMatchObject({
    code: "engine_failure",
  });
  await expect(other.generate(LONG).next()).rejects.toMatchObject({ code: "engine_failure" });
});
