import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { fixture, temporary } from "./fixtures.ts";

const CLI = fileURLToPath(new URL("./cli.ts", import.meta.url));

function run(...args: string[]): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [CLI, ...args], (_, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, text: stdout + stderr }),
    );
  });
}

it("converts, refuses with a code and no stack, and says how it is used", async () => {
  await using folder = await temporary();
  const to = join(folder.path, "model");
  expect(await run("--from", fixture("legacy"), "--to", to)).toMatchObject({ code: 0 });
  expect(await readdir(to)).toContain("decoder.onnx");

  const refused = await run("--from", folder.path, "--to", join(folder.path, "other"));
  expect(refused.code).toBe(1);
  expect(refused.text).toMatch(/^invalid_checkpoint: .*config\.json is missing.*\n$/);

  for (const args of [[], ["--from", "a"], ["--from", "a", "--to", "b", "--dtype", "int2"]]) {
    expect(await run(...args)).toMatchObject({ code: 2, text: expect.stringMatching(/^usage:/) });
  }
}, 120_000);
