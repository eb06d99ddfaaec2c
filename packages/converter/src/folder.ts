/** Folders that appear whole or not at all, and the names of cached ones. Knows files; not what a conversion does. */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError, MANIFEST_FILE, MANIFEST_FORMAT, readManifest } from "@glimpse/engine";

const ABANDONED_MS = 24 * 60 * 60 * 1000;
/** A holder says so often that it lives; who has not for so long is dead. */
const LOCK_BEAT_MS = 2_000;
const LOCK_DEAD_MS = 30_000;
const LOCK_POLL_MS = 100;

/**
 * Makes a folder under another name beside its place and renames it when `fill` is done: a crash leaves nothing at
 * `target`, and two processes at once do not mix. An earlier conversion there is replaced.
 * Throws EngineError `invalid_checkpoint` if `target` holds something else.
 */
export async function makeFolder(
  target: string,
  fill: (draft: string) => Promise<void>,
): Promise<void> {
  const present = await readdir(target).catch((): string[] => []);
  const replaced = present.includes(MANIFEST_FILE); // even one that is broken
  if (present.length > 0 && !replaced) {
    const message = `${target} is neither empty nor a conversion: choose another folder`;
    throw new EngineError("invalid_checkpoint", message);
  }
  const [parent, prefix] = [dirname(target), `.${basename(target)}.`];
  await sweep(parent, prefix);
  const draft = join(parent, prefix + randomUUID());
  const old = `${draft}.old`;
  try {
    await mkdir(draft, { recursive: true });
    await fill(draft);
    if (replaced) await rename(target, old).catch(() => undefined); // another process was first
    await rename(draft, target).catch(async (error: unknown) => {
      // Another process finished the same conversion meanwhile: its result is as good.
      if (!(await isConversion(target))) throw error;
    });
  } finally {
    for (const folder of [draft, old]) await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Does the work while no other process does any under this lock, a file beside `target`. A dead holder's lock is taken
 * over; should two take it at once, both work, which costs time only, since folders appear whole.
 * Throws EngineError `engine_failure` when the disk refuses, and what the work throws.
 */
export async function inTurn<T>(target: string, work: () => Promise<T>): Promise<T> {
  const lock = join(dirname(target), `.${basename(target)}.lock`);
  while (!(await createFile(lock))) {
    const { mtimeMs } = await stat(lock).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > LOCK_DEAD_MS) await rm(lock, { force: true });
    else await sleep(LOCK_POLL_MS);
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(lock, now, now).catch(() => undefined);
  }, LOCK_BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    await rm(lock, { force: true });
  }
}

/** False if it is there already. */
async function createFile(path: string): Promise<boolean> {
  let isFolder = false;
  try {
    await mkdir(dirname(path), { recursive: true });
    isFolder = true;
    const file = await open(path, "wx");
    await file.close();
    return true;
  } catch (cause) {
    const exists = cause instanceof Error && "code" in cause && cause.code === "EEXIST";
    if (isFolder && exists) return false;
    throw new EngineError("engine_failure", `${path} could not be written`, { cause });
  }
}

export async function isConversion(dir: string): Promise<boolean> {
  return readManifest(dir).then(
    () => true,
    () => false,
  );
}

/**
 * The name of a checkpoint's conversion in a cache: it changes when a file of the checkpoint, the dtype or our format does.
 * Throws EngineError `invalid_checkpoint` if the folder cannot be read.
 */
export async function cacheName(checkpoint: string, dtype: string): Promise<string> {
  const dir = resolve(checkpoint);
  const hash = createHash("sha256").update(`${MANIFEST_FORMAT} ${dtype} ${dir}`);
  const files = await readdir(dir).catch((cause: unknown) => {
    throw new EngineError("invalid_checkpoint", `${dir} is not a readable folder`, { cause });
  });
  for (const file of files.toSorted()) {
    const { size, mtimeMs } = await stat(join(dir, file));
    hash.update(`\n${file} ${size} ${mtimeMs}`);
  }
  return `${basename(dir)}-${hash.digest("hex").slice(0, 16)}`;
}

/** Removes what conversions left that were killed long ago; younger ones may be at work. */
async function sweep(parent: string, prefix: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names.filter((candidate) => candidate.startsWith(prefix))) {
    const { mtimeMs } = await stat(join(parent, name)).catch(() => ({ mtimeMs: Infinity }));
    if (Date.now() - mtimeMs < ABANDONED_MS) continue;
    await rm(join(parent, name), { recursive: true, force: true });
  }
}
