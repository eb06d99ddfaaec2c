// What comes from others: pinned, whole, from the registry, with scripts only where allowed; and a gate that cannot pass by not running.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { readLockfile } from "./lockfile.ts";

const root = join(import.meta.dirname, "..");
const read = (file: string) => readFileSync(join(root, file), "utf8");
const pinned = readLockfile(read("pnpm-lock.yaml"));

describe("the lockfile", () => {
  test("pins every package by its hash", () => {
    expect(pinned.length).toBe(read("pnpm-lock.yaml").match(/^ {4}resolution:/gm)?.length);
    expect(pinned.filter(({ hasIntegrity }) => !hasIntegrity)).toEqual([]);
  });

  test("has nothing from elsewhere than the registry", () => {
    const elsewhere = pinned.filter(({ version }) => !/^\d+\.\d+\.\d+(-[\w.-]+)?$/.test(version));
    expect(elsewhere).toEqual([]);
  });

  test("is read as it is written", () => {
    const text =
      "packages:\n\n  '@a/b@1.2.3':\n    resolution: {}\n\n  c@git+https://x:\n    x: y\n\nsnapshots:\n";
    expect(readLockfile(text)).toEqual([
      { name: "@a/b", version: "1.2.3", hasIntegrity: false },
      { name: "c", version: "git+https://x", hasIntegrity: false },
    ]);
    expect(() => readLockfile("")).toThrow("no packages");
  });
});

describe("the workspace", () => {
  const workspace = read("pnpm-workspace.yaml");

  test("names exact versions, and takes none younger than a week", () => {
    const catalog = /^catalog:\n((?: {2}.*\n)+)/m.exec(workspace)?.[1]?.trim().split("\n") ?? [];
    expect(catalog.length).toBeGreaterThan(20);
    expect(catalog.filter((line) => !/: \d+\.\d+\.\d+$/.test(line))).toEqual([]);
    expect(Number(/^minimumReleaseAge: (\d+)/m.exec(workspace)?.[1])).toBeGreaterThanOrEqual(
      7 * 24 * 60,
    );
  });

  test("lets one package run a script when it is installed", () => {
    const builds = /^allowBuilds:\n((?: {2}.*\n)+)/m.exec(workspace)?.[1] ?? "";
    expect([...builds.matchAll(/^ {2}(\S+): true/gm)].map(([, name]) => name)).toEqual(["node"]);
  });
});

describe("the gate for advisories", () => {
  const bad = (severity: string) => [{ title: "Bad", severity, url: "https://x.example" }];
  let stop = () => {};
  afterEach(() => stop());

  /** Runs the gate against a registry that answers so, and returns its exit code and last words. */
  async function gate(answer: (asked: Record<string, string[]>) => object | number) {
    const server = createServer((request, response) => {
      let text = "";
      request.on("data", (data: Buffer) => (text += data));
      request.on("end", () => {
        const result = answer(JSON.parse(text) as Record<string, string[]>);
        if (typeof result === "number") response.writeHead(result).end("{}");
        else response.end(JSON.stringify(result));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    stop = () => server.close();
    const registry = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const child = spawn(process.execPath, [join(import.meta.dirname, "advisories.ts")], {
      env: { ...process.env, npm_config_registry: registry },
    });
    let words = "";
    child.stdout.on("data", (data: Buffer) => (words += data));
    child.stderr.on("data", (data: Buffer) => (words += data));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, words };
  }
  const isCanary = (asked: Record<string, string[]>) => asked["hono"]?.[0] === "4.0.0";

  test("passes when the canary is known and nothing else", async () => {
    const asked: number[] = [];
    const { code } = await gate((versions) => {
      asked.push(Object.keys(versions).length);
      return isCanary(versions) ? { hono: bad("high") } : { zod: bad("low") };
    });
    expect(code).toBe(0);
    expect(asked[1]).toBe(new Set(pinned.map(({ name }) => name)).size);
  });
  test("fails on what is high", async () => {
    const { code, words } = await gate((asked) =>
      isCanary(asked) ? { hono: bad("high") } : { zod: bad("critical") },
    );
    expect({ code, words }).toEqual({ code: 1, words: expect.stringContaining("critical: zod") });
  });
  test.each([
    ["that refuses", 405],
    ["that has gone", 502],
    ["that knows nothing, not even the canary", {}],
  ])("fails with a registry %s", async (_name, answer) => {
    const { code, words } = await gate(() => answer);
    expect({ code, words }).toEqual({ code: 2, words: expect.stringContaining("NOT CHECKED") });
  });
});
