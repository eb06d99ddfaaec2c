/**
 * Does a checkpoint of the real model's widths convert in bounded memory, and answer? Makes one (4 + 2 layers, two
 * shards, random bfloat16 weights, 4.5 GB) in a temporary folder, converts it and asks it a question, each in a process
 * of its own, prints their peak resident memory and removes everything. Exits with 1 over the limit.
 * Usage: node bench/convert-memory.ts [--dtype int4] [--dir DIR with 20 GB free] [--json]
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { convert } from "@glimpse/converter";
import { DTYPES, Engine } from "@glimpse/engine";
import { z } from "zod";
import { FLASH, withDepth, writeCheckpoint } from "./random-checkpoint.ts";

const limitMb = 1500;
const picture = new URL("../models/nano/heldout/colour-000.png", import.meta.url);

const Options = z.object({
  dtype: z.enum(DTYPES).default("int4"),
  dir: z.string().default(tmpdir()),
  json: z.boolean().default(false),
  /** For the processes that this one starts. */
  phase: z.enum(["convert", "ask"]).optional(),
  from: z.string().default(""),
  to: z.string().default(""),
});
const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;
const { values } = parseArgs({
  options: { dtype: text, dir: text, json: flag, phase: text, from: text, to: text },
});
const options = Options.parse(values);

const Outcome = z.object({ peakMb: z.number(), seconds: z.number(), tokens: z.number() });
type Outcome = z.infer<typeof Outcome>;

if (options.phase === undefined) await main();
else console.log(JSON.stringify(await measured(options.phase)));

async function main(): Promise<void> {
  const folder = await mkdtemp(join(options.dir, "glimpse-convert-memory-"));
  try {
    const from = join(folder, "checkpoint");
    const to = join(folder, "converted");
    const gb = (await writeCheckpoint(from, withDepth(FLASH, 4, 2))) / 1e9;
    const converting = await phase("convert", from, to);
    const asking = await phase("ask", from, to);
    if (options.json) console.log(JSON.stringify({ gb, converting, asking, limitMb }));
    else {
      console.log(`${gb.toFixed(1)} GB of bfloat16 to ${options.dtype}`);
      console.table({ converting, asking });
      console.log(`converting is to stay within ${limitMb} MB, and answering from int4`);
    }
    // Other precisions' weights alone are more than the limit, and every token reads all of them.
    const limited = options.dtype === "int4" ? [converting, asking] : [converting];
    if (limited.some(({ peakMb }) => peakMb > limitMb) || asking.tokens === 0) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function phase(name: "convert" | "ask", from: string, to: string): Promise<Outcome> {
  const script = [import.meta.filename, "--phase", name, "--dtype", options.dtype];
  const run = promisify(execFile)(process.execPath, [...script, "--from", from, "--to", to]);
  return Outcome.parse(JSON.parse((await run).stdout));
}

async function measured(name: "convert" | "ask"): Promise<Outcome> {
  const start = performance.now();
  const tokens = name === "convert" ? await convertCheckpoint() : await ask();
  const seconds = (performance.now() - start) / 1000;
  const peakMb = process.resourceUsage().maxRSS / 1024;
  return { peakMb: Math.round(peakMb), seconds: Math.round(seconds), tokens };
}

async function convertCheckpoint(): Promise<number> {
  const { from, to, dtype } = options;
  await convert({ from, to, dtype });
  return 0;
}

/** Output tokens of an answer about a picture. */
async function ask(): Promise<number> {
  const engine = await Engine.load(options.to, { slots: 1, capacity: 512 });
  const content = [
    { type: "image" as const, image: await readFile(picture) },
    { type: "text" as const, text: "What is in the picture?" },
  ];
  let tokens = 0;
  const request = { messages: [{ role: "user" as const, content }], maxTokens: 8 };
  for await (const piece of engine.generate(request)) {
    if (piece.type === "end") tokens = piece.usage.completionTokens;
  }
  await engine.close();
  return tokens;
}
