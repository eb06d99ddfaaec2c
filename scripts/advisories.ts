/**
 * Known advisories against what pnpm-lock.yaml pins, as the registry's own audit knows them.
 * Usage: pnpm advisories. Ends with 0: it ran, and found nothing high or critical; 1: it found some;
 * 2: it cannot prove that it ran. For the proof it first asks about a version that is known to be bad, and must be told so.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { readLockfile } from "./lockfile.ts";

type Advisory = { title: string; severity: string; url: string };
type Versions = Record<string, string[]>;

/** Auth that could be passed by, fixed long ago: whoever knows advisories knows these. */
const canary: Versions = { hono: ["4.0.0"] };
const serious = new Set(["high", "critical"]);

/** The advisories about these versions, by package. Throws when the registry does not say. */
async function ask(registry: string, versions: Versions): Promise<Record<string, Advisory[]>> {
  const url = new URL("-/npm/v1/security/advisories/bulk", registry);
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(versions),
    signal: AbortSignal.timeout(60_000),
  });
  if (!response.ok) throw new Error(`the registry answered ${response.status}`);
  return (await response.json()) as Record<string, Advisory[]>;
}

async function readRegistry(): Promise<string> {
  const { stdout } = await promisify(execFile)("npm", ["config", "get", "registry"]);
  return stdout.trim();
}

async function main(): Promise<number> {
  const text = await readFile(join(import.meta.dirname, "../pnpm-lock.yaml"), "utf8");
  const ours: Versions = {};
  for (const { name, version } of readLockfile(text)) (ours[name] ??= []).push(version);
  let found: Record<string, Advisory[]>;
  try {
    const registry = await readRegistry();
    const known = (await ask(registry, canary))["hono"] ?? [];
    if (known.length === 0) throw new Error("it knows nothing of hono 4.0.0, which is bad");
    found = await ask(registry, ours);
  } catch (error) {
    console.error(`NOT CHECKED: ${error instanceof Error ? error.message : String(error)}`);
    return 2;
  }
  const all = Object.entries(found).flatMap(([name, list]) =>
    list.map((one) => ({ name, ...one })),
  );
  for (const { name, severity, title, url } of all)
    console.log(`${severity}: ${name} ${ours[name]?.join(", ")}: ${title} (${url})`);
  const bad = all.filter(({ severity }) => serious.has(severity)).length;
  console.log(JSON.stringify({ packages: Object.keys(ours).length, advisories: all.length, bad }));
  return bad === 0 ? 0 : 1;
}

process.exitCode = await main();
