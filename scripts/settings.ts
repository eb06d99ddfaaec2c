// What the environment says to the launcher. Nothing else under scripts/ reads it.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

export type Settings = {
  host: string;
  port: number;
  /** Where this machine reaches the API. */
  url: string;
  /** Given by the user; without it a private Redis is run. */
  redisUrl: string | undefined;
  modelDir: string;
  dataDir: string;
  /** Whether whoever asks has to prove who they are. */
  hasAuth: boolean;
};

/** Something the user can put right; its message says how. */
export class Problem extends Error {}

/** Reads PORT, HOST, REDIS_URL, MODEL_DIR, DATA_DIR and AUTH; an empty value counts as missing. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const port = Number(env.PORT || 8080);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Problem(`PORT must be a number from 1 to 65535, not "${env.PORT}".`);
  }
  const modelDir = resolve(env.MODEL_DIR || "models/nano");
  if (!existsSync(join(modelDir, "config.json"))) {
    throw new Problem(
      `${modelDir} holds no model: there is no config.json. MODEL_DIR names a checkpoint folder.`,
    );
  }
  if (env.REDIS_URL && !/^rediss?:$/.test(URL.parse(env.REDIS_URL)?.protocol ?? "")) {
    throw new Problem("REDIS_URL must look like redis://127.0.0.1:6379.");
  }
  const host = env.HOST || "127.0.0.1";
  const everywhere = host === "0.0.0.0" || host === "::";
  const name = everywhere ? "localhost" : host.includes(":") ? `[${host}]` : host;
  return {
    host,
    port,
    url: `http://${name}:${port}`,
    redisUrl: env.REDIS_URL || undefined,
    modelDir,
    dataDir: resolve(env.DATA_DIR || ".glimpse"),
    hasAuth: Boolean(env.AUTH) && env.AUTH !== "none",
  };
}
