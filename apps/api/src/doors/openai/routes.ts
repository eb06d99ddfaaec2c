/** OpenAI's API in front of jobs: its official clients work by changing their base URL. */
import { Hono } from "hono";
import type { AppEnv } from "../../errors.ts";
import type { DoorDeps } from "../project.ts";
import { createProject } from "../project.ts";
import { chatRoutes } from "./chat.ts";
import { responsesRoutes } from "./responses.ts";

export function openAiDoor(deps: DoorDeps) {
  const project = createProject(deps);
  return new Hono<AppEnv>()
    .route("/", chatRoutes(project))
    .route("/", responsesRoutes(project, deps.ledger));
}
