import type { LogEvent } from "@glimpse/contracts";
import { defaultTenant } from "@glimpse/contracts";
import type { GenerateRequest, Piece } from "@glimpse/engine";
import { EngineError } from "@glimpse/engine";
import { openTestLedger } from "@glimpse/ledger/testing";
import type { TestLedger } from "@glimpse/ledger/testing";
import { createLogger } from "@glimpse/telemetry";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Generator } from "./perform.ts";
import { createPerform } from "./perform.ts";

let open: TestLedger;
beforeAll(async () => {
  open = await openTestLedger();
});
afterAll(() => open.close());

const end: Piece = {
  type: "end",
  finishReason: "stop",
  outputTokenIds: [1, 2],
  usage: { promptTokens: 9, imageTokens: 4, cachedTokens: 0, completionTokens: 2 },
  timings: { preprocessMs: 0, visionMs: 0, firstTokenMs: 0, totalMs: 0 },
};

function performWith(generate: Generator["generate"]) {
  const log = createLogger("test", "silent");
  return createPerform({ ...open, engine: { generate }, log, pieceIntervalMs: 20 });
}

async function submit(content: unknown = "What?", options = {}): Promise<string> {
  const input = { messages: [{ role: "user", content }], options } as never;
  const job = { tenant: defaultTenant, model: "nano", version: "nano@1", input, metadata: {} };
  return (await open.ledger.submit(job)).id;
}

/** Speaks for ever, until it is told to stop. */
async function* endless(_: GenerateRequest, signal: AbortSignal): AsyncGenerator<Piece> {
  while (!signal.aborted) {
    yield { type: "delta", text: "word " };
    await sleep(2);
  }
}

const never = new AbortController().signal;
const types = (log: LogEvent[]) => log.map((event) => event.type);
const isRunning = (id: string) =>
  expect.poll(async () => (await open.ledger.readLog(id, 1)).length).toBeGreaterThan(0);

test("pieces go to the log as they come, and the outcome to the record", async () => {
  const requests: GenerateRequest[] = [];
  const perform = performWith(async function* (request) {
    requests.push(request);
    yield { type: "prompt", promptTokenIds: [], imageGrids: [], imageTokens: 4, pixelDigest: "" };
    yield { type: "reasoning", text: "hm" };
    yield { type: "delta", text: "A " };
    yield { type: "delta", text: "circle." };
    yield end;
  });
  await open.blobs.put("a".repeat(64), Uint8Array.of(1, 2, 3));
  const content = [
    { type: "image", digest: "a".repeat(64) },
    { type: "text", text: "What?" },
  ];
  const id = await submit(content, { max_tokens: 7, top_k: 2, stop: ".", thinking: true, seed: 5 });
  expect(await perform(id, false, never)).toBe("done");
  expect(requests).toMatchObject([
    {
      maxTokens: 7,
      stop: ["."],
      thinking: true,
      sampling: { topK: 2, seed: 5 },
      messages: [{ role: "user" }],
    },
  ]);
  expect(requests[0]!.sampling).not.toHaveProperty("temperature");
  const [image, text] = requests[0]!.messages[0]!.content as {
    image?: Uint8Array;
    text?: string;
  }[];
  expect([...image!.image!]).toEqual([1, 2, 3]);
  expect(text).toEqual({ type: "text", text: "What?" });
  expect(await open.ledger.read(id, defaultTenant)).toMatchObject({
    state: "succeeded",
    output: { text: "A circle.", reasoning: "hm", finish_reason: "stop" },
    usage: { prompt_tokens: 9, image_tokens: 4, completion_tokens: 2 },
  });
  const log = await open.ledger.readLog(id, -1);
  const said = log.map((event) => (event.type === "delta" ? event.text : "")).join("");
  expect(said).toBe("A circle.");
});

test("log-probabilities go to the record and the log, if they are asked for", async () => {
  const requests: GenerateRequest[] = [];
  const score = { id: 1, logprob: -0.5, bytes: [0xc3, 0xa9] };
  const half = { id: 2, logprob: -1.5, bytes: [0xc3] };
  const perform = performWith(async function* (request) {
    requests.push(request);
    yield { type: "delta", text: "é" };
    yield { ...end, logprobs: [{ ...score, top: [score, half] }] };
  });
  const id = await submit("What?", { logprobs: true, top_logprobs: 2 });
  await perform(id, false, never);
  const said = { token: "é", bytes: [0xc3, 0xa9], logprob: -0.5 };
  const part = { token: "\ufffd", bytes: [0xc3], logprob: -1.5 };
  const output = { logprobs: [{ ...said, top_logprobs: [said, part] }] };
  expect(await open.ledger.read(id, defaultTenant)).toMatchObject({ output });
  expect((await open.ledger.readLog(id, -1)).at(-1)).toMatchObject({ output });

  const quiet = performWith(async function* (request) {
    requests.push(request);
    yield end;
  });
  const other = await submit("What?", { logprobs: false });
  await quiet(other, false, never);
  expect((await open.ledger.read(other, defaultTenant))?.output).not.toHaveProperty("logprobs");
  await quiet(await submit("What?", { logprobs: true }), false, never);
  expect(requests.map(({ logprobs }) => logprobs)).toEqual([2, undefined, 0]);
});

test("the engine's refusals fail the job with their code, its accidents with none of their text", async () => {
  const refuse = performWith(async function* () {
    throw new EngineError("invalid_image", "The picture cannot be decoded.");
  });
  const refused = await submit();
  await refuse(refused, false, never);
  const error = {
    code: "invalid_image",
    message: "The picture cannot be decoded.",
    retryable: false,
  };
  expect(await open.ledger.read(refused, defaultTenant)).toMatchObject({ state: "failed", error });

  const breakDown = performWith(async function* () {
    yield { type: "delta", text: "A" };
    throw new Error("secret at 0xdeadbeef");
  });
  const broken = await submit();
  await breakDown(broken, false, never);
  const job = await open.ledger.read(broken, defaultTenant);
  expect(job).toMatchObject({
    state: "failed",
    error: { code: "engine_failure", retryable: true },
  });
  expect(JSON.stringify(job)).not.toContain("secret");
});

test("a picture that is gone fails its job", async () => {
  const id = await submit([{ type: "image", digest: "b".repeat(64) }]);
  await performWith(endless)(id, false, never);
  expect(await open.ledger.read(id, defaultTenant)).toMatchObject({
    state: "failed",
    error: { code: "invalid_image" },
  });
});

test("a cancel stops the engine", async () => {
  const id = await submit();
  const performed = performWith(endless)(id, false, never);
  await isRunning(id);
  await open.ledger.cancel(id, defaultTenant);
  expect(await performed).toBe("done");
  const log = await open.ledger.readLog(id, -1);
  expect(log.at(-1)?.type).toBe("canceled");
});

test("a job canceled before it starts is not run", async () => {
  let runs = 0;
  const perform = performWith(async function* () {
    runs++;
    yield end;
  });
  const id = await submit();
  await open.ledger.cancel(id, defaultTenant);
  expect(await perform(id, false, never)).toBe("done");
  expect(await perform(`job_0_${"0".repeat(32)}`, false, never)).toBe("done");
  expect(runs).toBe(0);
});

test("a newer attempt silences an older one", async () => {
  const id = await submit();
  const old = performWith(endless)(id, false, never);
  await isRunning(id);
  const quick = performWith(async function* () {
    yield { type: "delta", text: "mine" };
    yield end;
  });
  await quick(id, false, never);
  expect(await old).toBe("done");
  const log = await open.ledger.readLog(id, -1);
  const afterReset = types(log).slice(types(log).indexOf("reset"));
  expect(afterReset).toEqual(["reset", "running", "delta", "succeeded"]);
  expect(await open.ledger.read(id, defaultTenant)).toMatchObject({
    output: { text: "mine" },
    attempt: 2,
  });
});

test("when the worker drains, the job is handed back", async () => {
  const id = await submit();
  const drain = new AbortController();
  const performed = performWith(endless)(id, false, drain.signal);
  await isRunning(id);
  drain.abort();
  expect(await performed).toBe("handed back");
  expect(await open.ledger.read(id, defaultTenant)).toMatchObject({ state: "queued" });
  expect((await open.ledger.readLog(id, -1)).at(-1)?.type).toBe("queued");
});

test("a deadline that passes while the job runs stops the engine, with nobody else's help", async () => {
  const input = { messages: [{ role: "user" as const, content: "What?" }], options: {} };
  const job = { tenant: defaultTenant, model: "nano", version: "nano@1", input, metadata: {} };
  const standing = { deadlineMs: 150 };
  const { id } = await open.ledger.submit({ ...job, standing });
  let stopped = false;
  const perform = performWith(async function* (request, signal) {
    yield* endless(request, signal);
    stopped = true;
  });
  expect(await perform(id, false, never)).toBe("done");
  expect(stopped).toBe(true);
  const expired = await open.ledger.read(id, defaultTenant);
  expect(expired).toMatchObject({ state: "expired", error: { code: "deadline_exceeded" } });
  const lateMs = Date.parse(expired!.finished_at!) - Date.parse(expired!.deadline_at!);
  expect(lateMs).toBeGreaterThanOrEqual(0);
  const log = await open.ledger.readLog(id, -1);
  expect(types(log).filter((type) => type === "expired")).toEqual(["expired"]);
  expect(types(log).at(-1)).toBe("expired");
});
