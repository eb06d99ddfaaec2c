/** Pictures' bytes as files of a folder that API, worker and courier all see. */
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { BlobStore } from "./blobs.ts";
import { BlobError } from "./blobs.ts";

export function createDirectoryStore(path: string): BlobStore {
  // 256 folders: none grows long.
  const folderOf = (name: string) => join(path, name.slice(0, 2));
  const fileOf = (name: string) => join(folderOf(name), name);

  return {
    /** The file appears whole or not at all: what is written first has another name. */
    async put(name, bytes) {
      const part = `${fileOf(name)}.${randomBytes(4).toString("hex")}.part`;
      try {
        await mkdir(folderOf(name), { recursive: true });
        const file = await open(part, "wx", 0o600);
        try {
          await file.writeFile(bytes);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(part, fileOf(name));
      } catch (error) {
        await rm(part, { force: true }).catch(() => {}); // delete() finds it if this cannot
        throw blobError(error);
      }
    },

    async get(name) {
      return orIfMissing(readFile(fileOf(name)), null);
    },

    async has(name) {
      return orIfMissing(
        stat(fileOf(name)).then(() => true),
        false,
      );
    },

    /** Takes along what a killed process had begun to write. */
    async delete(name) {
      const files = await orIfMissing(readdir(folderOf(name)), []);
      for (const file of files.filter((found) => found.startsWith(name))) {
        await rm(join(folderOf(name), file), { force: true }).catch((error: unknown) => {
          throw blobError(error);
        });
      }
    },
  };
}

async function orIfMissing<T, Missing>(found: Promise<T>, missing: Missing): Promise<T | Missing> {
  try {
    return await found;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return missing;
    throw blobError(error);
  }
}

function blobError(error: unknown): BlobError {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new BlobError("full", "the pictures' disk is full", error);
  }
  return new BlobError("unavailable", `the pictures' folder cannot be used (${code})`, error);
}
