/** From a model folder of any kind to one that the engine loads; what the worker and the command line call at start. */
import { type ConvertOptions, ensureConverted } from "./convert.ts";

export type PrepareOptions = Pick<ConvertOptions, "onProgress"> & {
  /** Where conversions are kept, as `<name>-<digest of the checkpoint>`. */
  cacheDir: string;
};

/**
 * The folder to give to Engine.load: `dir` itself when it holds the engine's files already, else its conversion, made
 * at first use and again whenever the checkpoint changes.
 * @throws EngineError `invalid_checkpoint` or `unsupported_architecture`
 */
export function prepareModel(
  dir: string,
  { cacheDir, ...options }: PrepareOptions,
): Promise<string> {
  return ensureConverted({ from: dir, cache: cacheDir, ...options });
}
