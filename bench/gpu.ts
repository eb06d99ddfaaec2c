/**
 * What a card does at the model's real shapes, with random weights made on the spot: decode steps against the time in
 * which the weights and the cache can be read at all, prompts, pictures and memory. docs/gpu.md says how to run it there.
 * Usage: node bench/gpu.ts [--device cuda|cuda:N|cpu] [--small] [--layers 40] [--depth 24] [--context 512]
 *   [--bandwidth GB/s of the device's memory] [--memory-mb N] [--dir DIR with 50 GB free, kept and used again] [--json]
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { prepareModel } from "@glimpse/converter";
import { DeviceName, deviceOf, loadRunner, readManifest, type Runner } from "@glimpse/engine";
import { z } from "zod";
import { median, round, seconds } from "./engine/measure.ts";
import {
  type CheckpointShape,
  FLASH,
  SMALL,
  withDepth,
  writeCheckpoint,
} from "./random-checkpoint.ts";

const BATCHES = [1, 8, 32];
/** Patches of a picture: 336 x 336 pixels, 640 x 480 and 1920 x 1080, after the model's resizing. */
const GRIDS: [h: number, w: number][] = [
  [24, 24],
  [34, 46],
  [78, 138],
];
/** As tools/gpu/transformers_generate.py: prompt and output tokens. */
const GENERATE = { prompt: 512, output: 128, batches: [1, 8] };

const number = z.coerce.number().positive();
const Options = z.object({
  device: DeviceName.default("cuda"),
  small: z.boolean().default(false),
  layers: number.optional(),
  depth: number.optional(),
  context: number.default(512),
  bandwidth: number.optional(),
  "memory-mb": number.optional(),
  dir: z.string().optional(),
  json: z.boolean().default(false),
});
const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const { values } = parseArgs({
  options: {
    device: text,
    small: flag,
    layers: text,
    depth: text,
    context: text,
    bandwidth: text,
    "memory-mb": text,
    dir: text,
    json: flag,
  },
});
const options = Options.parse(values);
const base = options.small ? SMALL : FLASH;
const shape = withDepth(
  base,
  options.layers ?? base.text.num_hidden_layers,
  options.depth ?? base.vision.depth,
);
const limitMb = options["memory-mb"];
const device = deviceOf(options.device, limitMb === undefined ? undefined : limitMb * 2 ** 20);
const isCard = device.type === "cuda";
const elementBytes = isCard ? 2 : 4;
const runs = options.small ? 5 : 20;

const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "glimpse-gpu-")));
try {
  await main();
} finally {
  if (options.dir === undefined) await rm(dir, { recursive: true });
}

async function main(): Promise<void> {
  const checkpoint = join(dir, `checkpoint-${shape.text.num_hidden_layers}-${shape.vision.depth}`);
  await mkdir(dir, { recursive: true });
  const isMade = await stat(join(checkpoint, "model.safetensors.index.json")).catch(
    () => undefined,
  );
  if (!isMade) await writeCheckpoint(checkpoint, shape);
  const dtype = elementBytes === 2 ? "fp16" : "fp32";
  const model = await prepareModel(checkpoint, { cacheDir: join(dir, "converted"), dtype });
  const slots = Math.max(...BATCHES);
  const capacity = Math.max(options.context + runs + 10, GENERATE.prompt + GENERATE.output, 2_100);
  const before = await memoryMb();
  let runner: Runner | undefined;
  const loadS = await seconds(async () => {
    runner = await loadRunner(model, { device, slots, capacity, blocking: true });
  });
  if (!runner) throw new Error("nothing was loaded");
  const loadedMb = await memoryMb();
  const told = <T>(name: string, found: T): T => {
    console.error(JSON.stringify({ [name]: found })); // time on a card is short: what ends early has said something
    return found;
  };
  told("load", { s: round(loadS, 1), mb: loadedMb });
  const decode = told("decode", await measureDecode(runner, model));
  const prefill = told("prefill", await measurePrefill(runner));
  const vision = told("vision", await measureVision(runner));
  const generate = told("generate", await measureGenerate(runner));
  const memory = { before_mb: before, loaded_mb: loadedMb, peak_mb: await memoryMb() };
  await runner.close();
  const figures = { device: await deviceName(), load_s: round(loadS, 1), memory };
  if (options.json)
    return console.log(JSON.stringify({ ...figures, decode, prefill, vision, generate }));
  console.log(`${figures.device}; ${checkpoint}; loaded in ${figures.load_s} s`);
  console.log(`\nDecode steps after ${options.context} tokens`);
  console.table(decode);
  console.log("\nPrompts");
  console.table(prefill);
  console.log("\nPictures");
  console.table(vision);
  console.log(`\nGreedy answers: prompts of ${GENERATE.prompt}, ${GENERATE.output} tokens each`);
  console.table(generate);
  console.log("\nMemory of the device (of this process on a CPU)");
  console.table(memory);
}

/** Times of one step. What lies in the cache matters to nobody's time, so nothing is read before. */
async function measureDecode(runner: Runner, model: string) {
  const { text: sizes } = await readManifest(model);
  const weightBytes = elementBytes * decoderParameters(shape);
  const rowBytes =
    2 * sizes.layers * sizes.kvHeads * sizes.cacheDim * elementBytes * options.context;
  const rows = [];
  for (const batch of BATCHES) {
    const ids = new Int32Array(batch).fill(7);
    const pasts = new Int32Array(batch).fill(options.context);
    const ms = await times(() => runner.decode(ids, pasts, pasts, 1));
    const readGb = (weightBytes + batch * rowBytes) / 1e9;
    const floorMs =
      options.bandwidth === undefined ? undefined : (readGb / options.bandwidth) * 1e3;
    rows.push({
      batch,
      ms: round(ms),
      "tokens/s": round((batch * 1e3) / ms, 0),
      "GB read": round(readGb),
      "GB/s": round(readGb / (ms / 1e3), 0),
      ...(floorMs !== undefined && {
        "floor ms": round(floorMs),
        "ms / floor": round(ms / floorMs),
      }),
    });
  }
  return rows;
}

async function measurePrefill(runner: Runner) {
  const rows = [];
  for (const tokens of [128, 512, 2_048]) {
    const ids = new Int32Array(tokens).fill(7);
    const positions = Int32Array.from({ length: 3 * tokens }, (_, i) => i % tokens);
    const ms = await times(() => runner.prefill(0, 0, { ids, positions }, 1));
    const flops = 2 * decoderParameters(shape) * tokens;
    rows.push({
      tokens,
      ms: round(ms),
      "tokens/s": round((tokens * 1e3) / ms, 0),
      "TFLOP/s": round(flops / (ms / 1e3) / 1e12),
    });
  }
  return rows;
}

async function measureVision(runner: Runner) {
  const rows = [];
  for (const [h, w] of options.small ? GRIDS.slice(0, 1) : GRIDS) {
    for (const pictures of h * w <= 576 ? [1, 8] : [1]) {
      const pixels = new Float32Array(h * w * runner.shape.patchDim);
      const all = Array.from({ length: pictures }, () => ({ grid: [1, h, w] as const, pixels }));
      const ms = await times(() =>
        runner.encodeImages(all.map((one) => ({ ...one, grid: [...one.grid] }))),
      );
      rows.push({
        pictures,
        patches: h * w,
        tokens: (h * w) / runner.shape.merge ** 2,
        ms: round(ms),
      });
    }
  }
  return rows;
}

/** Prompts read one after the other, then all sequences a token a step. */
async function measureGenerate(runner: Runner) {
  const { prompt, output, batches } = GENERATE;
  const ids = new Int32Array(prompt).fill(7);
  const positions = Int32Array.from({ length: 3 * prompt }, (_, i) => i % prompt);
  const rows = [];
  for (const batch of batches) {
    const last = new Int32Array(batch);
    const pasts = new Int32Array(batch);
    const all: number[] = [];
    for (let run = 0; run < 3; run++) {
      const time = await seconds(async () => {
        for (let slot = 0; slot < batch; slot++)
          last[slot] = (await runner.prefill(slot, 0, { ids, positions }, 1)).ids[0]!;
        for (let token = 1; token < output; token++) {
          pasts.fill(prompt + token - 1);
          last.set((await runner.decode(last, pasts, pasts, 1)).ids);
        }
      });
      all.push(time);
    }
    const s = median(all);
    rows.push({ batch, s: round(s), "tokens/s": round((batch * output) / s, 1) });
  }
  return rows;
}

/** The median in milliseconds, after a few that warm up. */
async function times(work: () => Promise<unknown>): Promise<number> {
  const all: number[] = [];
  for (let run = -3; run < runs; run++) {
    const time = await seconds(work);
    if (run >= 0) all.push(1e3 * time);
  }
  return median(all);
}

/** What a token passes through: all layers and the head; of the embeddings one row. */
function decoderParameters({ text: sizes }: CheckpointShape): number {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: kvHeads } = sizes;
  const projections = 2 * hidden * hidden + (2 * hidden * hidden * kvHeads) / heads;
  const layer = projections + 3 * hidden * sizes.intermediate_size;
  return sizes.num_hidden_layers * layer + sizes.vocab_size * hidden;
}

async function nvidiaSmi(query: string): Promise<string> {
  const args = [
    `--query-gpu=${query}`,
    "--format=csv,noheader,nounits",
    "-i",
    String(isCard ? device.id : 0),
  ];
  return (await promisify(execFile)("nvidia-smi", args)).stdout.trim();
}

async function memoryMb(): Promise<number> {
  if (isCard) return Number(await nvidiaSmi("memory.used"));
  return round(process.memoryUsage.rss() / 2 ** 20, 0);
}

async function deviceName(): Promise<string> {
  return isCard ? nvidiaSmi("name,driver_version") : (cpus()[0]?.model ?? "CPU");
}
