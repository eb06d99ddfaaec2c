// Redis for one machine: finds a server program (or installs Debian's where it may) and runs a
// private one, with its append-only file in the data folder. Knows nothing of what is kept in it.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { step } from "./progress.mjs";
import { Problem } from "./settings.ts";

const run = promisify(execFile);

/** Our connection's name, by which a second start sees that the first still runs. */
const launcherName = "glimpse-launcher";

const configuration = "redis.conf";

/** The oldest Redis that BullMQ supports well. Valkey counts from 7.2. */
const oldest = { major: 6, minor: 2 };

/** Path of an installed redis-server or valkey-server, in PATH or where Homebrew and Debian put them. */
async function findRedisServer(): Promise<string | undefined> {
  const folders = (process.env.PATH ?? "").split(delimiter);
  folders.push("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin");
  for (const name of ["redis-server", "valkey-server"]) {
    for (const folder of folders) {
      const path = join(folder, name);
      const found = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found && (await isRecent(path))) return path;
    }
  }
  return undefined;
}

async function isRecent(path: string): Promise<boolean> {
  const { stdout } = await run(path, ["--version"]);
  const [, major, minor] = /v=(\d+)\.(\d+)/.exec(stdout) ?? [];
  const ahead = Number(major) - oldest.major || Number(minor) - oldest.minor;
  return ahead >= 0;
}

/** Path of a Redis server; installs Debian's package when there is none and we may. */
export async function bringRedisServer(): Promise<string> {
  const found = await findRedisServer();
  if (found) return found;
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !(await run("apt-get", ["--version"]).catch(() => undefined))) {
    throw new Problem(howToInstall());
  }
  await step("installing Debian's redis-server", installDebianPackage);
  const installed = await findRedisServer();
  if (!installed) throw new Problem(howToInstall());
  return installed;
}

async function installDebianPackage(note: (text: string) => void): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: string[]) =>
    run("apt-get", ["-o", "DPkg::Lock::Timeout=120", ...args], { env, maxBuffer: 1 << 26 });
  try {
    note("apt-get update");
    await apt("update");
    note("apt-get install");
    await apt("install", "-y", "--no-install-recommends", "redis-server");
  } catch (error) {
    const stderr = String((error as { stderr?: unknown }).stderr ?? error).trim();
    throw new Problem(`apt-get could not install redis-server:\n${stderr}\n\n${howToInstall()}`);
  }
  // Debian starts a service of its own, which nobody asked for; there may be no init to ask.
  await run("invoke-rc.d", ["redis-server", "stop"]).catch(() => undefined);
  await run("update-rc.d", ["redis-server", "disable"]).catch(() => undefined);
}

function howToInstall(): string {
  const own = {
    darwin: "brew install redis",
    linux: "sudo apt-get install -y redis-server     (Fedora: sudo dnf install -y valkey)",
  }[process.platform as "darwin" | "linux"];
  return [
    `There is no Redis ${oldest.major}.${oldest.minor} or later (redis-server or valkey-server) here. Install one:`,
    ...(own ? [`  ${own}`] : []),
    "or run one elsewhere, and name it:",
    "  docker run -d -p 6379:6379 redis:7 redis-server --appendonly yes --maxmemory-policy noeviction --stream-node-max-bytes 512",
    "  REDIS_URL=redis://127.0.0.1:6379 npm start",
  ].join("\n");
}

export type PrivateRedis = { url: string; command: string; args: string[]; folder: string };

/**
 * Prepares a private Redis in `folder`: ends one that a killed start left there, then writes its
 * configuration for a free port of this machine. The caller runs `command args` in `folder`.
 * Throws a Problem when another start is using the folder.
 */
export async function preparePrivateRedis(folder: string): Promise<PrivateRedis> {
  const command = await bringRedisServer();
  await mkdir(folder, { recursive: true });
  await endLeftover(folder);
  const port = await freePort();
  const password = randomBytes(24).toString("hex");
  const lines = [
    "bind 127.0.0.1",
    `port ${port}`,
    `requirepass ${password}`,
    "dir .",
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    "maxmemory-policy noeviction",
    // Each job's log is a stream, which by default takes 4 KB from its first event on: two thirds of all that a job needs.
    "stream-node-max-bytes 512",
  ];
  await writeFile(join(folder, configuration), `${lines.join("\n")}\n`, { mode: 0o600 });
  return { url: `redis://:${password}@127.0.0.1:${port}`, command, args: [configuration], folder };
}

/** Where the private Redis of `folder` listens, or listened last; undefined when none was ever there. */
export async function privateRedisUrl(folder: string): Promise<string | undefined> {
  const text = await readFile(join(folder, configuration), "utf8").catch(() => "");
  const port = /^port (\d+)$/m.exec(text)?.[1];
  const password = /^requirepass (\w+)$/m.exec(text)?.[1];
  return port && password ? `redis://:${password}@127.0.0.1:${port}` : undefined;
}

async function endLeftover(folder: string): Promise<void> {
  const url = await privateRedisUrl(folder);
  if (url === undefined) return;
  const redis = connect(url, false);
  try {
    await redis.connect();
  } catch {
    return; // Nothing answers there, or something that is not ours.
  }
  if (String(await redis.client("LIST")).includes(`name=${launcherName}`)) {
    redis.disconnect();
    throw new Problem(
      `Glimpse is already running with ${folder}. Stop it, or give this one a folder of its own: DATA_DIR=.glimpse-2`,
    );
  }
  const ended = new Promise((resolve) => redis.once("end", resolve));
  await redis.shutdown().catch(() => undefined); // A Redis that obeys does not answer.
  await ended;
}

/** A connection that waits until Redis answers, and then marks this start as alive until it is closed. */
export async function holdRedis(url: string, waitMs: number): Promise<Redis> {
  const redis = connect(url, true);
  let last: NodeJS.ErrnoException | undefined;
  redis.on("error", (error) => (last = error));
  const deadline = Date.now() + waitMs;
  for (;;) {
    try {
      if (redis.status === "wait" || redis.status === "end") await redis.connect();
      await redis.ping(); // Refused while it still reads its file.
      return redis;
    } catch (error) {
      if (Date.now() > deadline) {
        redis.disconnect();
        const { code, message } = last ?? (error as NodeJS.ErrnoException);
        throw new Problem(`No Redis answers at ${new URL(url).host} (${code ?? message}).`);
      }
      await sleep(50);
    }
  }
}

function connect(url: string, forEver: boolean): Redis {
  const redis = new Redis(url, {
    connectionName: forEver ? launcherName : "glimpse-visitor",
    connectTimeout: 2000,
    commandTimeout: 2000,
    enableOfflineQueue: false,
    lazyConnect: true,
    retryStrategy: forEver ? () => 200 : () => null,
  });
  redis.on("error", () => undefined); // Told to whoever awaits a command.
  return redis;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || !address) throw new Error("no free port");
  return address.port;
}
