/**
 * Everything that hostile input can do, against the whole system: every row must get its answer, and all must live.
 * Exits with 1 when one did not.
 * Usage: pnpm test:hostile [part...] [--seed N] [--mutations N] [--small] [--json]
 */
import { parseArgs } from "node:util";
import { parts } from "./parts.ts";
import type { Report } from "./run.ts";
import { count, runPart } from "./run.ts";

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    mutations: { type: "string", default: "300" },
    small: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const size = {
  size: args.small ? ("small" as const) : ("full" as const),
  seed: Number(args.seed),
  mutations: Number(args.mutations),
};
for (const name of positionals)
  if (!parts.some((part) => part.name === name))
    throw new Error(`${name} is none of ${parts.map((part) => part.name).join(", ")}`);
const chosen = parts.filter(({ name }) => positionals.length === 0 || positionals.includes(name));

/** For people; the last line is for programs and printed always. */
const tell = (...words: unknown[]) => {
  if (!args.json) console.log(...words);
};

const reports: Report[] = [];
for (const part of chosen) {
  const report = await runPart(part, size);
  reports.push(report);
  tell(`\n${part.name}`);
  for (const { row, wrong } of report.lines)
    for (const what of wrong) tell(`  ${row.id} ${row.name}: ${what}`);
  for (const what of report.findings) tell(`  ${what}`);
  const kinds = Object.entries(Object.groupBy(report.lines, ({ row }) => row.id));
  const table = kinds.map(([id, lines = []]) => ({
    id,
    rows: lines.length,
    right: lines.filter(({ wrong }) => wrong.length === 0).length,
    statuses: [...new Set(lines.map(({ status }) => status))].toSorted((a, b) => a - b).join(" "),
    slowest_ms: Math.round(Math.max(...lines.map(({ ms }) => ms))),
  }));
  if (!args.json)
    console.table(table.toSorted((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1))));
}
const counts = count(reports);
console.log(JSON.stringify({ ...counts, seed: size.seed }));
if (counts.wrong > 0 || counts.findings > 0) process.exitCode = 1;
