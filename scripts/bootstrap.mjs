// node scripts/bootstrap.mjs SCRIPT [ARGUMENT]...
// Runs a script of this repository on the Node it is written for, from a bare clone: brings the
// packages first, and leaves nothing running afterwards. Plain JavaScript without dependencies, for
// whatever Node (20 or later) the machine has.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { step } from "./progress.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const bin = join(root, "node_modules", ".bin");
/** Holds the digest of what was installed last, written only after a whole install. */
const stamp = join(root, "node_modules", ".glimpse-installed");

function wantedInstall() {
  const files = ["pnpm-lock.yaml", "pnpm-workspace.yaml"];
  const text = files.map((file) => readFileSync(join(root, file), "utf8")).join("\0");
  return createHash("sha256").update(`${text}\0${process.platform}-${process.arch}`).digest("hex");
}

function installed() {
  try {
    return readFileSync(stamp, "utf8") === wantedInstall();
  } catch {
    return false;
  }
}

/** @param {(note: string) => void} note */
async function install(note) {
  // CI=true keeps pnpm from asking questions that nobody is there to answer.
  const child = spawn("npx", ["--yes", manifest.packageManager, "install", "--frozen-lockfile"], {
    cwd: root,
    env: { ...process.env, CI: "true" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stop = passSignals((signal) => child.kill(signal));
  let output = "";
  /** @param {Buffer} chunk */
  const hear = (chunk) => {
    output += chunk;
    const line = String(chunk).trimEnd().split("\n").at(-1) ?? "";
    if (!line.includes("npm warn")) note(line);
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  stop();
  if (code !== 0) throw new Error(`pnpm install failed:\n${output.trim()}`);
  writeFileSync(stamp, wantedInstall());
}

/**
 * Calls `act` for each request to stop: a signal, or the end of the npm that started us.
 * @param {(signal: NodeJS.Signals) => void} act
 * @returns a function that ends it
 */
function passSignals(act) {
  /** @type {NodeJS.Signals[]} */
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (!process.env.npm_lifecycle_event || process.ppid === parent) return;
    clearInterval(watch);
    act("SIGTERM");
  }, 250);
  for (const signal of signals) process.on(signal, act);
  return () => {
    clearInterval(watch);
    for (const signal of signals) process.off(signal, act);
  };
}

/**
 * Runs the script as the leader of a process group of its own, so that Ctrl-C reaches it once,
 * through us, and what it leaves behind can be found and ended.
 * @param {string[]} argv
 * @returns {Promise<number>} its exit code
 */
async function runScript(argv) {
  const child = spawn(join(bin, "node"), argv, {
    cwd: root,
    detached: true,
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` },
    // Through the channel the script notices when we are gone.
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  const stop = passSignals((signal) => child.kill(signal));
  /** @type {number} */
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status, signal) => resolve(status ?? (signal === "SIGINT" ? 130 : 143)));
  });
  if (child.pid) await endGroup(child.pid);
  stop();
  return code;
}

/** @param {number} group */
async function endGroup(group) {
  try {
    process.kill(-group, "SIGTERM");
    for (let i = 0; i < 100; i++) {
      await sleep(50);
      process.kill(-group, 0);
    }
    process.kill(-group, "SIGKILL");
  } catch {
    // No such group: nothing was left.
  }
}

try {
  if (!installed())
    await step(`installing packages and Node ${manifest.devDependencies.node}`, install);
  process.exitCode = await runScript(process.argv.slice(2));
} catch (error) {
  console.error(`\n${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
