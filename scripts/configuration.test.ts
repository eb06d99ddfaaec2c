// docs/configuration.md lists every variable that a process reads, and none besides.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const sources = globSync("{apps,packages}/*/src/**/{config,settings,environment}.ts", {
  cwd: root,
});
const names = sources.flatMap((file) => {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^ {2}([A-Z][A-Z0-9_]*):/gm)].map(([, name]) => name);
});
const page = readFileSync(join(root, "docs/configuration.md"), "utf8");
const listed = page
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .flatMap((line) =>
    [...(line.split("|")[1] ?? "").matchAll(/`([A-Z0-9_]+)`/g)].map(([, name]) => name),
  );

test("lists what is read, and nothing else", () => {
  expect(names.length).toBeGreaterThan(50);
  expect(new Set(listed)).toEqual(new Set(names));
  expect(listed.length).toBe(new Set(listed).size);
});
