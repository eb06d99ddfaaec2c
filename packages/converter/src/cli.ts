/** pnpm convert --from DIR --to DIR [--dtype fp32|fp16|int8|int4]: makes the folder that the engine runs out of a checkpoint. */
import { parseArgs } from "node:util";
import { DTYPES, EngineError } from "@glimpse/engine";
import { z } from "zod";
import { convert } from "./convert.ts";

const USAGE = "usage: pnpm convert --from DIR --to DIR [--dtype fp32|fp16|int8|int4]";
const Options = z.strictObject({
  from: z.string().min(1),
  to: z.string().min(1),
  dtype: z.enum(DTYPES).default("fp32"),
});

async function main(): Promise<void> {
  const options = readOptions();
  if (!options) {
    console.error(USAGE);
    process.exitCode = 2;
    return;
  }
  let shown = 0;
  const onProgress = (done: number, total: number) => {
    const percent = Math.floor((100 * done) / total);
    if (percent >= shown + 10) console.error(`${percent} % of ${(total / 1e6).toFixed(1)} MB`);
    shown = Math.max(shown, percent - (percent % 10));
  };
  try {
    await convert({ ...options, onProgress });
    console.error(`converted to ${options.to}`);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    console.error(`${error.code}: ${error.message}`);
    process.exitCode = 1;
  }
}

function readOptions(): z.infer<typeof Options> | undefined {
  const option = { type: "string" } as const;
  try {
    return Options.parse(
      parseArgs({ options: { from: option, to: option, dtype: option } }).values,
    );
  } catch {
    return undefined;
  }
}

await main();
