/**
 * 500 random requests to the real model through 16 slots: pictures, lengths, sampling, cancels and deadlines at any
 * moment. Each gets what it gets alone, and nothing stays behind.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Engine, type GenerateRequest, type Message, type Piece } from "@glimpse/engine";
import { afterAll, beforeAll, expect, test } from "vitest";
import { convert } from "./convert.ts";
import { createDice, type Dice, NANO, temporary } from "./fixtures.ts";

const SEED = 20_261_122;
const REQUESTS = 500;
const SLOTS = 16;
const CAPACITY = 512;
/** Requests whose answers are awaited at once: some always wait. */
const CLIENTS = 40;
/** Megabytes by which the process may grow from one crowd to the next: what its allocators keep. All that a crowd asks for is more. */
const SLACK_MB = 40;
/** Two are of one size. */
const PICTURES = ["shape-001", "shape-005", "count-001", "number-008", "where-001", "describe-001"];
const WORDS = [
  "Describe the picture.",
  "Which shape is it?",
  "What is the number?",
  "你好 🙂",
  "Why?",
];
const SYSTEM =
  "You are shown a picture. Say what is in it, as short as you can, and nothing else at all.";

/** When somebody gives up: before the call, after so many milliseconds, at so many pieces, or by leaving the loop there. */
type Leave =
  | { how: "never" | "before" }
  | { how: "time"; ms: number }
  | { how: "piece" | "break"; count: number };
type Plan = {
  request: GenerateRequest;
  leave: Leave;
  deadlineMs?: number;
  isTooLong: boolean;
  /** Greedy or seeded. */
  isRepeatable: boolean;
};
/** How it ended: "end", "left", "gave up", or an error's code. */
type Outcome = { pieces: Piece[]; ended: string };

let folder: Awaited<ReturnType<typeof temporary>>;
let model: string;
let pictures: Buffer[];

beforeAll(async () => {
  folder = await temporary();
  model = join(folder.path, "model");
  await convert({ from: NANO, to: model });
  const read = (name: string) => readFile(join(NANO, "heldout", `${name}.png`));
  pictures = await Promise.all(PICTURES.map(read));
}, 120_000);
afterAll(() => folder[Symbol.asyncDispose]());

function draw(dice: Dice): Plan {
  const isGreedy = dice.int(0, 2) === 0;
  const isSeeded = dice.int(0, 5) > 0;
  const isTooLong = dice.int(0, 30) === 0;
  const maxTokens = dice.int(1, dice.pick([4, 12, 24]));
  const request: GenerateRequest = {
    messages: drawMessages(dice),
    sampling: {
      temperature: isGreedy ? 0 : dice.pick([0.4, 1, 1.5]),
      topP: dice.pick([1, 0.9, 0.5]),
      topK: dice.pick([0, 3, 40]),
      repetitionPenalty: dice.pick([1, 1, 1.2]),
      ...(isSeeded && { seed: dice.int(0, 1e9) }),
    },
    maxTokens: isTooLong ? CAPACITY : maxTokens,
    priority: dice.pick([0, 0, 0, 1, -1]),
    ...(dice.int(0, 3) === 0 && { minTokens: dice.int(0, maxTokens + 1) }),
    ...(dice.int(0, 5) === 0 && { stop: [dice.pick(["a", " ", "circle", "."])] }),
    ...(dice.int(0, 7) === 0 && { logprobs: dice.int(0, 4) }),
    ...(dice.int(0, 4) === 0 && { thinking: dice.pick([true, false]) }),
  };
  const leave = dice.pick<Leave>([
    { how: "before" },
    { how: "time", ms: dice.int(0, 150) },
    { how: "piece", count: dice.int(1, 6) },
    { how: "break", count: dice.int(1, 6) },
    ...Array.from({ length: 16 }, () => ({ how: "never" }) as const),
  ]);
  const late = dice.int(0, 25) === 0 && { deadlineMs: dice.int(-10, 200) };
  return { request, leave, isTooLong, isRepeatable: isGreedy || isSeeded, ...late };
}

function drawMessages(dice: Dice): Message[] {
  const content: Exclude<Message["content"], string> = [];
  for (let n = dice.pick([0, 1, 1, 1, 2]); n > 0; n--)
    content.push({ type: "image", image: dice.pick(pictures) });
  const words = Array.from({ length: dice.int(1, dice.pick([2, 4, 12])) }, () => dice.pick(WORDS));
  content.push({ type: "text", text: words.join(" ") });
  const system: Message = { role: "system", content: SYSTEM };
  return [...(dice.int(0, 3) === 0 ? [system] : []), { role: "user", content }];
}

/** What somebody sees who leaves as planned. */
async function follow(engine: Engine, { request, leave, deadlineMs }: Plan): Promise<Outcome> {
  const control = new AbortController();
  const gaveUp = { code: "gave up" };
  if (leave.how === "before") control.abort(gaveUp);
  if (leave.how === "time") setTimeout(() => control.abort(gaveUp), leave.ms);
  const deadline = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
  const pieces: Piece[] = [];
  try {
    for await (const piece of engine.generate({ ...request, ...deadline }, control.signal)) {
      pieces.push(piece);
      if (!("count" in leave) || pieces.length < leave.count) continue;
      if (leave.how === "break") break;
      control.abort(gaveUp);
    }
    return { pieces, ended: pieces.at(-1)?.type === "end" ? "end" : "left" };
  } catch (error) {
    return { pieces, ended: (error as { code?: string }).code ?? String(error) };
  }
}

/** Alone, to the end. */
function repeat(engine: Engine, plan: Plan): Promise<Outcome> {
  const { request, isTooLong, isRepeatable } = plan;
  return follow(engine, { request, leave: { how: "never" }, isTooLong, isRepeatable });
}

/** All plans, a number of them at a time. */
async function followAll(engine: Engine, plans: Plan[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const queue = plans.entries();
  const client = async () => {
    for (const [i, plan] of queue) outcomes[i] = await follow(engine, plan);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return outcomes;
}

/** What is wrong with an outcome; undefined if nothing is. */
function fault(
  { leave, deadlineMs, isTooLong }: Plan,
  { pieces, ended }: Outcome,
  alone: Outcome | undefined,
): string | undefined {
  const expected = [isTooLong ? "context_too_long" : "end"];
  if (leave.how !== "never") expected.push(leave.how === "break" ? "left" : "gave up");
  if (deadlineMs !== undefined) expected.push("deadline_exceeded");
  if (!expected.includes(ended)) return `${ended} instead of ${expected.join(" or ")}`;
  if (!alone) return undefined;
  const [found, wanted] = [textOf(pieces), textOf(alone.pieces)];
  if (ended !== "end")
    return wanted.startsWith(found) ? undefined : `began with "${found}", alone "${wanted}"`;
  const [end, whole] = [endOf(pieces), endOf(alone.pieces)];
  return found === wanted && end === whole
    ? undefined
    : `${found} ${end}, alone ${wanted} ${whole}`;
}

function textOf(pieces: Piece[]): string {
  return pieces.map((piece) => ("text" in piece ? piece.text : "")).join("");
}

/** An answer's end, without what the clock and the caches say. */
function endOf(pieces: Piece[]): string {
  const end = pieces.at(-1) as Extract<Piece, { type: "end" }>;
  return JSON.stringify({ ...end, timings: {}, usage: { ...end.usage, cachedTokens: 0 } });
}

/** Resident megabytes of the process, without this thread's garbage. */
function residentMb(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage.rss() / 2 ** 20;
}

test(`each of ${REQUESTS} random requests gets what it gets alone (seed ${SEED})`, async () => {
  const dice = createDice(SEED);
  const plans = Array.from({ length: REQUESTS }, () => draw(dice));
  const lonely = await Engine.load(model, { slots: 1, capacity: CAPACITY, prefixCacheBytes: 0 });
  const alone: (Outcome | undefined)[] = [];
  for (const plan of plans) alone.push(plan.isRepeatable ? await repeat(lonely, plan) : undefined);
  await lonely.close();

  // Caches so small that what is in them comes and goes.
  const caches = { featureCacheBytes: 160_000, prefixCacheBytes: 4_500_000 };
  const engine = await Engine.load(model, { slots: SLOTS, capacity: CAPACITY, ...caches });
  const outcomes: Outcome[] = [];
  const resident: number[] = [];
  for (const state of ["empty", "full"]) {
    const found = await followAll(engine, plans);
    const faults = plans.flatMap((plan, i) => fault(plan, found[i]!, alone[i]) ?? []);
    expect(faults, `with ${state} caches`).toEqual([]);
    outcomes.push(...found);
    resident.push(residentMb());
  }

  // It was what it says.
  const tally = Object.groupBy(outcomes, ({ ended }) => ended);
  expect(Object.keys(tally).toSorted()).toEqual(
    ["context_too_long", "deadline_exceeded", "end", "gave up", "left"].toSorted(),
  );
  expect(engine.stats.prefixes.hits).toBeGreaterThan(20);
  expect(engine.stats.pictures.hits).toBeGreaterThan(20);

  // Nothing stayed: no memory is held, all slots take a sequence again.
  expect(engine.stats).toMatchObject({ running: 0, waiting: 0 });
  expect(resident[1]! - resident[0]!).toBeLessThan(SLACK_MB);
  let most = 0;
  const long = { messages: plans[0]!.request.messages, minTokens: 60, maxTokens: 60 };
  const watch = async () => {
    for await (const { type } of engine.generate(long))
      if (type === "delta") most = Math.max(most, engine.stats.running);
  };
  await Promise.all(Array.from({ length: SLOTS }, watch));
  expect(most).toBe(SLOTS);
  await engine.close();
}, 600_000);
