import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { loadRunner, MANIFEST_FILE, WEIGHTS_FILE } from "@glimpse/engine";
import { expect, it } from "vitest";
import { convert } from "./convert.ts";
import { copyOf, fixture, temporary } from "./fixtures.ts";
import { inTurn, makeFolder } from "./folder.ts";
import { prepareModel } from "./prepare.ts";

const from = fixture("plain");

it("conversions of one folder at once all succeed and leave one that loads", async () => {
  await using folder = await temporary();
  const to = join(folder.path, "model");
  await Promise.all(Array.from({ length: 4 }, () => convert({ from, to })));
  expect(await readdir(folder.path)).toEqual(["model"]);
  const runner = await loadRunner(to, { threads: 1 });
  await runner.close();
});

it("replaces an earlier conversion and nothing else", async () => {
  await using folder = await temporary();
  const to = join(folder.path, "model");
  await convert({ from: fixture("legacy"), to });
  const earlier = await readFile(join(to, WEIGHTS_FILE));
  await convert({ from, to });
  expect(await readFile(join(to, WEIGHTS_FILE))).not.toEqual(earlier);
  expect(await readdir(folder.path)).toEqual(["model"]);

  const foreign = join(folder.path, "notes");
  await mkdir(foreign);
  await writeFile(join(foreign, "diary.txt"), "dear diary");
  await expect(convert({ from, to: foreign })).rejects.toMatchObject({
    code: "invalid_checkpoint",
  });
  expect(await readdir(foreign)).toEqual(["diary.txt"]);
});

it("leaves nothing when the work fails, and clears what was abandoned long ago", async () => {
  await using folder = await temporary();
  const target = join(folder.path, "model");
  const abandoned = join(folder.path, ".model.abandoned");
  const atWork = join(folder.path, ".model.at-work");
  await mkdir(abandoned);
  await mkdir(atWork);
  const longAgo = Date.now() / 1000 - 2 * 24 * 60 * 60;
  await utimes(abandoned, longAgo, longAgo);

  const failing = makeFolder(target, async (draft) => {
    await writeFile(join(draft, "half"), "");
    throw new Error("the disk is full");
  });
  await expect(failing).rejects.toThrow("the disk is full");
  expect(await readdir(folder.path)).toEqual([".model.at-work"]);
});

it("prepares a model once, again when it changes, and not when it is converted", async () => {
  await using folder = await temporary();
  const cacheDir = join(folder.path, "cache");
  const checkpoint = await copyOf("plain", folder.path);
  let converted = 0;
  const prepare = (dir: string) =>
    prepareModel(dir, {
      cacheDir,
      onProgress: (done, total) => (converted += Number(done === total)),
    });

  const first = await prepare(checkpoint);
  expect(await readdir(first)).toContain(MANIFEST_FILE);
  expect(await prepare(checkpoint)).toBe(first);
  expect(await prepare(first)).toBe(first);
  expect(converted).toBe(1);

  await rm(join(first, WEIGHTS_FILE)); // somebody cleaned up
  await expect(loadRunner(first)).rejects.toMatchObject({
    code: "invalid_checkpoint",
    message: expect.stringContaining(WEIGHTS_FILE),
  });
  expect(await prepare(checkpoint)).toBe(first);
  expect(converted).toBe(2);

  await rename(join(checkpoint, "reference.safetensors"), join(checkpoint, "renamed"));
  expect(await prepare(checkpoint)).not.toBe(first);
  expect(converted).toBe(3);
});

it("those who start together convert once, and a dead one's lock holds up nobody", async () => {
  await using folder = await temporary();
  const cacheDir = join(folder.path, "cache");
  const starts: number[] = [];
  const prepare = (number: number) =>
    prepareModel(from, { cacheDir, onProgress: () => starts.push(number) });
  const [first, ...others] = await Promise.all([0, 1, 2, 3].map(prepare));
  expect(others).toEqual([first, first, first]);
  expect(new Set(starts).size).toBe(1);
  expect(await readdir(cacheDir)).toEqual([basename(first!)]);

  const target = join(cacheDir, "other");
  const lock = join(cacheDir, ".other.lock");
  await writeFile(lock, "");
  const dead = Date.now() / 1000 - 60;
  await utimes(lock, dead, dead);
  expect(await inTurn(target, () => readdir(cacheDir))).toContain(".other.lock");
  await expect(inTurn(target, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await readdir(cacheDir)).toEqual([basename(first!)]);

  await writeFile(join(folder.path, "file"), "");
  const nowhere = prepareModel(from, { cacheDir: join(folder.path, "file") });
  await expect(nowhere).rejects.toMatchObject({ code: "engine_failure" });
});

it("a lock that lives is waited for", async () => {
  await using folder = await temporary();
  const target = join(folder.path, "model");
  const order: string[] = [];
  const turn = (name: string) =>
    inTurn(target, async () => {
      order.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 30));
      order.push(`${name} ends`);
    });
  await Promise.all([turn("a"), turn("b")]);
  const [winner, loser] = order[0] === "a begins" ? ["a", "b"] : ["b", "a"];
  expect(order).toEqual([`${winner} begins`, `${winner} ends`, `${loser} begins`, `${loser} ends`]);
});
