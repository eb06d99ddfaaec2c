/** Runs a part's rows against the whole system, and looks after each one whether all are alive. */
import { startRedisServer } from "../support/redis-server.ts";
import { createClient } from "../support/client.ts";
import { startSystem } from "../support/system.ts";
import type { Answer, Part, Row, Size } from "./rows.ts";
import { judge } from "./rows.ts";
import { createTarget } from "./target.ts";

export type Line = { row: Row; status: number; ms: number; wrong: string[] };
export type Report = {
  lines: Line[];
  /** What no single answer shows: deaths, what the part found out at its end. */
  findings: string[];
};

/** Starts Redis, API, worker and courier for the part, sends every row, and ends them all. */
export async function runPart(part: Part, size: Size): Promise<Report> {
  const stage = await part.prepare(size);
  const redis = await startRedisServer();
  const system = await startSystem({ redisUrl: redis.url, engine: "nano", env: stage.env ?? {} });
  const target = createTarget(system.url);
  const lines: Line[] = [];
  const findings: string[] = [];
  const ended = (name: string) => (code: number | null) => {
    findings.push(`the ${name} ended with ${code}`);
  };
  let isOver = false;
  for (const name of ["api", "worker", "courier"] as const)
    void system[name].exited.then((code) => !isOver && ended(name)(code));

  async function send(row: Row): Promise<void> {
    const started = performance.now();
    const line: Line = { row, status: 0, ms: 0, wrong: [] };
    lines.push(line);
    const answer = await row.send(target).catch((error: unknown): Answer | null => {
      line.wrong.push(error instanceof Error ? error.message : String(error));
      return null;
    });
    line.ms = performance.now() - started;
    if (answer === null) return;
    line.status = answer.status;
    line.wrong.push(...judge(row, answer));
    const { status } = await target.request("/ready");
    if (status !== 200) line.wrong.push(`/ready is ${status} afterwards`);
  }

  try {
    await stage.started?.({ api: system.api.pid, worker: system.worker.pid });
    const { rows, atOnce = 1 } = stage;
    for (let i = 0; i < rows.length && findings.length === 0; i += atOnce)
      await Promise.all(rows.slice(i, i + atOnce).map(send));
    if (findings.length === 0) {
      const { state } = await createClient(system.url).infer({ prompt: "Are you well?" });
      if (state !== "succeeded") findings.push(`an honest job afterwards: ${state}`);
    }
    findings.push(...((await stage.findings?.(system.api.log)) ?? []));
  } catch (error) {
    findings.push(`broke off: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    isOver = true;
    await system.stop();
    await redis.stop();
    await stage.close?.();
  }
  return { lines, findings };
}

/** How the whole of it went: what `pnpm test:hostile` prints last. */
export function count(reports: Report[]) {
  const lines = reports.flatMap((report) => report.lines);
  const isExpected = ({ row, status }: Line) => [row.status].flat().includes(status);
  return {
    rows: lines.length,
    wrong: lines.filter(({ wrong }) => wrong.length > 0).length,
    unexpected_2xx: lines.filter(
      (line) => line.status >= 200 && line.status < 300 && !isExpected(line),
    ).length,
    unexpected_5xx: lines.filter((line) => line.status >= 500 && !isExpected(line)).length,
    findings: reports.reduce((sum, report) => sum + report.findings.length, 0),
    slowest_ms: Math.round(Math.max(0, ...lines.map(({ ms }) => ms))),
  };
}
