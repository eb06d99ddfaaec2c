/** One Redis for a whole test run; tests keep apart by key prefixes of their own. They find it with `inject("redisUrl")`. */
import type { TestProject } from "vitest/node";
import { startRedisServer } from "./redis-server.ts";

export default async function setup(project: TestProject) {
  const server = await startRedisServer();
  project.provide("redisUrl", server.url);
  return () => server.stop();
}

declare module "vitest" {
  interface ProvidedContext {
    redisUrl: string;
  }
}
