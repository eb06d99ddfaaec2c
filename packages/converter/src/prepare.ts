/** From a model folder of any kind to one that the engine loads; what the worker and the command line call at start. */
import { join } from "node:path";
import { convert, type ConvertOptions } from "./convert.ts";
import { cacheName, inTurn, isConversion } from "./folder.ts";

export type PrepareOptions = Pick<ConvertOptions, "dtype" | "onProgress"> & {
  /** Where conversions are kept, as `<name>-<digest of the checkpoint>`. */
  cacheDir: string;
};

/**
 * The folder to give to Engine.load: `dir` itself when it holds the engine's files already, else its conversion, made
 * at first use and again whenever the checkpoint changes. Processes that start together convert once.
 * @throws EngineError `invalid_checkpoint` or `unsupported_architecture`
 */
export async function prepareModel(
  dir: string,
  { cacheDir, dtype = "fp32", ...options }: PrepareOptions,
): Promise<string> {
  if (await isConversion(dir)) return dir;
  const to = join(cacheDir, await cacheName(dir, dtype));
  if (await isConversion(to)) return to;
  await inTurn(to, async () => {
    if (!(await isConversion(to))) await convert({ from: dir, to, dtype, ...options });
  });
  return to;
}
