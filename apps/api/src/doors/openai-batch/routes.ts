/** OpenAI's files and batches: requests of its door by the thousand, in a file, answered in another. */
import { Hono } from "hono";
import type { AppEnv } from "../../errors.ts";
import type { BatchDeps } from "../batch-runner.ts";
import { runBatches } from "../batch-runner.ts";
import { batchForm, batchRoutes } from "./batches.ts";
import { fileRoutes } from "./files.ts";

/** Works on batches until `deps.closing`, too. */
export function openAiBatchDoor(deps: BatchDeps) {
  runBatches(deps, batchForm);
  return new Hono<AppEnv>().route("/", fileRoutes(deps)).route("/", batchRoutes(deps));
}
