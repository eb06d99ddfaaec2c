// The lint rules bite: each rule of the design is broken here once, in a copy of the repository's shape.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

/** File -> what it must not say, and a word of the advice that its author gets. */
const violations: Record<string, [code: string, advice: string]> = {
  "packages/contracts/src/a.ts": [`import "@glimpse/ledger";`, "Redis belongs to apps"],
  "packages/engine/src/a.ts": [`import "@glimpse/ledger";`, "Redis belongs to apps"],
  "packages/engine/src/b.ts": [`export const x = process.env.X;`, "no-process-env"],
  "packages/engine/src/c.ts": [`import "hono";`, "HTTP is apps/api's"],
  "packages/converter/src/a.ts": [`import "koffi";`, "one binding"],
  "packages/ledger/src/a.ts": [`import "../../engine/src/a.ts";`, "by its name"],
  "packages/telemetry/src/a.ts": [`import "ioredis";`, "open a Ledger"],
  "apps/api/src/a.ts": [`import "@glimpse/engine";`, "send it a job"],
  "apps/api/src/b.ts": [`import "sharp";`, "Pixels are decoded"],
  "apps/api/src/c.ts": [`import "../../worker/src/config.ts";`, "by its name"],
  "apps/api/src/d.ts": [`console.log(1);`, "no-console"],
  "apps/api/src/e.test.ts": [`import "../../../packages/ledger/src/keys.ts";`, "by its name"],
  "apps/courier/src/a.ts": [`import "@glimpse/engine";`, "send it a job"],
  "apps/courier/src/b.ts": [`import "ioredis";`, "open a Ledger"],
  "apps/worker/src/a.ts": [`import "@glimpse/outbound";`, "store what others need"],
  "apps/worker/src/c.ts": [`import "undici";`, "one way out"],
  "apps/api/src/f.ts": [`import "undici";`, "one way out"],
  "apps/api/src/g.ts": [`import "bullmq";`, "apps/worker"],
  "apps/courier/src/d.ts": [`import "node:https";`, "one way out"],
  "apps/courier/src/e.ts": [`export const x = fetch("https://example.com");`, "one way out"],
  "packages/outbound/src/a.ts": [`import "@glimpse/ledger";`, "Redis belongs to apps"],
  "test/a.ts": [`import "../apps/api/src/app.ts";`, "Nobody imports from apps"],
  "bench/a.ts": [`export const x: any = 1;`, "no-explicit-any"],
  "packages/engine/src/d.ts": [`import "./e.ts";`, "no-cycle"],
  "packages/engine/src/e.ts": [`import "./d.ts";`, "no-cycle"],
};

/** What is allowed and stays so. */
const fine: Record<string, string> = {
  "packages/ledger/src/b.ts": `import "@glimpse/contracts"; import "ioredis";`,
  "packages/outbound/src/b.ts": `import "@glimpse/contracts"; import "undici";`,
  "apps/courier/src/c.ts": `import "@glimpse/outbound";`,
  "apps/worker/src/b.ts": `import "@glimpse/engine"; import "@glimpse/ledger";`,
  "apps/api/src/config.ts": `export const port = process.env.PORT;`,
  "scripts/a.ts": `console.log(process.env.PORT);`,
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "arrows-"));
  cpSync(join(root, "oxlint.config.ts"), join(folder, "oxlint.config.ts"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const files = Object.entries(violations).map(([file, [code]]) => [file, code] as const);
  for (const [file, code] of [...files, ...Object.entries(fine)]) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), `${code}\n`);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

function lint(file: string): string {
  try {
    return execFileSync(join(root, "node_modules/.bin/oxlint"), [file], {
      cwd: folder,
      encoding: "utf8",
    });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

test.each(Object.entries(violations))("%s is refused", (file, [, advice]) => {
  expect(lint(file)).toContain(advice);
});

test.each(Object.keys(fine))("%s is fine", (file) => {
  expect(lint(file)).toContain("Found 0 warnings and 0 errors");
});
