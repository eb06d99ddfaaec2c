/** OpenAI's API in front of jobs: its official clients work by changing their base URL. */
import { Hono } from "hono";
import { ApiError } from "../../api-error.ts";
import type { AppEnv } from "../../errors.ts";
import { listModels } from "../../health.ts";
import type { BatchDeps } from "../batch-runner.ts";
import { runBatches } from "../batch-runner.ts";
import { createProject } from "../project.ts";
import { batchForm, batchRoutes } from "./batches.ts";
import { chatRoutes } from "./chat.ts";
import { fileRoutes } from "./files.ts";
import { responsesRoutes } from "./responses.ts";

export function openAiDoor(deps: BatchDeps) {
  runBatches(deps, batchForm);
  const project = createProject(deps);
  return new Hono<AppEnv>()
    .route("/", chatRoutes(project))
    .route("/", responsesRoutes(project, deps))
    .route("/", fileRoutes(deps))
    .route("/", batchRoutes(deps))
    .get("/v1/models/:id", async (c) => {
      const { data } = await listModels(deps.ledger, deps.served);
      const model = data.find(({ id }) => id === c.req.param("id"));
      if (model === undefined) throw new ApiError("model_not_found", "There is no such model.");
      return c.json(model);
    });
}
