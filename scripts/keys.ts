// pnpm keys: API keys of the Redis that REDIS_URL names, or of the private one of a running npm start.
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { privateRedisUrl } from "./redis.ts";

const root = join(import.meta.dirname, "..");
const folder = join(resolve(process.env.DATA_DIR || ".glimpse"), "redis");
const redisUrl = process.env.REDIS_URL || (await privateRedisUrl(folder));
if (redisUrl === undefined) {
  console.error(
    `There is no Redis: run npm start (its data is not in ${folder}), or set REDIS_URL.`,
  );
  process.exit(1);
}
const args = [join(root, "apps/api/src/keys-cli.ts"), ...process.argv.slice(2)];
const env = { ...process.env, REDIS_URL: redisUrl };
process.exit(spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1);
