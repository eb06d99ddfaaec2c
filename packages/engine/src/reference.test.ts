/**
 * The whole engine below its scheduler, held to transformers on models/nano (tools/nano/reference.py wrote the cases):
 * pixels, ids and positions equal; first logits within 1e-4; 48 greedy tokens equal, past the answer's end.
 * The conversion is made by the command line, since this package must not know the converter.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { readGenerationSettings } from "./checkpoint.ts";
import { loadRunner } from "./ort-runner.ts";
import { promptPositions } from "./positions.ts";
import { loadProcessor, type ModelInput, type Processor } from "./processor.ts";
import type { Candidates, Picture, Runner } from "./runner.ts";
import type { Message } from "./types.ts";

const root = resolve(import.meta.dirname, "../../..");
const model = join(root, "models/nano");
const folder = join(model, "reference");

const Part = z.union([
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("image"), file: z.string() }),
]);
const Case = z.object({
  thinking: z.boolean().nullable(),
  messages: z.array(
    z.object({
      role: z.enum(["system", "user", "assistant"]),
      content: z.union([z.string(), z.array(Part)]),
    }),
  ),
  image_grids: z.array(z.tuple([z.number(), z.number(), z.number()])),
  pixel_digest: z.string(),
  prompt_token_ids: z.array(z.number()),
  positions_i32: z.string(),
  first_logits_f32: z.string(),
  run_on_token_ids: z.array(z.number()).length(48),
});
type Case = z.infer<typeof Case>;

const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));
const { imageTokenId } = await readGenerationSettings(model);
let converted: string;
let processor: Processor;
let runner: Runner;

beforeAll(async () => {
  converted = join(await mkdtemp(join(tmpdir(), "glimpse-reference-")), "model");
  const cli = join(root, "packages/converter/src/cli.ts");
  await promisify(execFile)(process.execPath, [cli, "--from", model, "--to", converted]);
  processor = await loadProcessor(model, { maxPixels: 40e6, context: 8192 });
  runner = await loadRunner(converted, { slots: 2, capacity: 4096 });
}, 120_000);

afterAll(async () => {
  await runner.close();
  await rm(resolve(converted, ".."), { recursive: true });
});

test("there are enough cases", () => {
  expect(names.length).toBeGreaterThanOrEqual(24);
});

test.each(names)("%s", { timeout: 60_000 }, async (name) => {
  const wanted = Case.parse(JSON.parse(await readFile(join(folder, name), "utf8")));
  const input = await processor.process(await messagesOf(wanted), wanted.thinking ?? undefined);
  expect(input.grids).toEqual(wanted.image_grids);
  expect(input.digest).toBe(wanted.pixel_digest);
  expect(input.ids).toEqual(wanted.prompt_token_ids);

  const { merge, vocab } = runner.shape;
  const positions = promptPositions(input.ids, input.grids, imageTokenId, merge);
  const bytes = Buffer.from(wanted.positions_i32, "base64");
  expect(Buffer.from(positions.ids.buffer).equals(bytes)).toBe(true);

  const features = await runner.encodeImages(picturesOf(input));
  const chunk = {
    ids: Int32Array.from(input.ids),
    positions: positions.ids,
    features: {
      rows: Float32Array.from(features.flatMap((rows) => [...rows])),
      at: Int32Array.from(input.ids.flatMap((id, at) => (id === imageTokenId ? [at] : []))),
    },
  };
  let candidates = await runner.prefill(0, 0, chunk, vocab);
  const first = Buffer.from(wanted.first_logits_f32, "base64");
  expect(largestDifference(candidates, first)).toBeLessThan(1e-4);

  const tokens = [candidates.ids[0]!];
  while (tokens.length < wanted.run_on_token_ids.length) {
    const length = input.ids.length + tokens.length - 1;
    candidates = await runner.decode(
      Int32Array.of(tokens.at(-1)!),
      Int32Array.of(length),
      Int32Array.of(length + positions.delta),
      1,
    );
    tokens.push(candidates.ids[0]!);
  }
  expect(tokens).toEqual(wanted.run_on_token_ids);
});

function messagesOf({ messages }: Case): Promise<Message[]> {
  return Promise.all(
    messages.map(async ({ role, content }) => {
      if (typeof content === "string") return { role, content };
      const parts = content.map(async (part) =>
        part.type === "text"
          ? part
          : { type: "image" as const, image: await readFile(join(folder, part.file)) },
      );
      return { role, content: await Promise.all(parts) };
    }),
  );
}

function picturesOf({ pixels, grids }: ModelInput): Picture[] {
  const { patchDim } = runner.shape;
  let from = 0;
  return grids.map((grid) => {
    const to = from + grid[0] * grid[1] * grid[2] * patchDim;
    const picture = { pixels: pixels.subarray(from, to), grid };
    from = to;
    return picture;
  });
}

/** Between one row of all candidates and logits in vocabulary order. */
function largestDifference({ ids, logits }: Candidates, wanted: Buffer): number {
  return ids.reduce(
    (worst, id, i) => Math.max(worst, Math.abs(logits[i]! - wanted.readFloatLE(id * 4))),
    0,
  );
}
