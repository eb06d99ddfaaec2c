// npm test [-- VITEST ARGUMENT...]: the static checks, then the tests of all packages.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { bringRedisServer } from "./redis.ts";
import { Problem } from "./settings.ts";

const root = join(import.meta.dirname, "..");

/** Runs a command to its end; ends this process with its exit code unless that is 0. */
function run(command: string, args: string[], env: NodeJS.ProcessEnv): void {
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env });
  if (status !== 0) process.exit(status ?? 1);
}

try {
  const redis = dirname(await bringRedisServer());
  const env = { ...process.env, PATH: `${process.env.PATH}:${redis}`, DO_NOT_TRACK: "1" };
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    packageManager: string;
  };
  // Through pnpm, because turbo needs one to run its tasks with.
  run("npx", ["--yes", manifest.packageManager, "run", "verify"], env);
  run("vitest", ["run", "--project", "main", ...process.argv.slice(2)], env);
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  console.error(`\n${error.message}`);
  process.exitCode = 1;
}
