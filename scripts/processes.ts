// Runs one long-lived process: log to a file, restart with back-off, stop within a bounded time.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { Problem } from "./settings.ts";

export type Program = {
  name: string;
  command: string;
  args: string[];
  cwd: string;
  env: NodeJS.ProcessEnv;
  logFile: string;
  /** How long it may take to drain after SIGTERM before it is killed. */
  drainMs: number;
};

export type Running = { stop(): Promise<void> };

const longestDelayMs = 10_000;

/**
 * Starts `program`, and starts it again when it ends, a little later each time. One that ends by
 * itself before `isUp()` would only do so again: then `giveUp` is told why, and it is left alone.
 */
export function keepRunning(
  program: Program,
  isUp: () => boolean,
  giveUp: (reason: Problem) => void,
): Running {
  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let stopping = false;
  let restarts = 0;
  let timer: NodeJS.Timeout | undefined;

  function start(): void {
    const startedAt = Date.now();
    const log = openSync(program.logFile, "a");
    const { command, args, cwd, env } = program;
    const current = spawn(command, args, { cwd, env, stdio: ["ignore", log, log] });
    closeSync(log);
    child = current;
    ended = new Promise((resolve) => {
      current.once("error", () => resolve(onEnd(1, null, startedAt)));
      current.once("exit", (code, signal) => resolve(onEnd(code, signal, startedAt)));
    });
  }

  function onEnd(code: number | null, signal: string | null, startedAt: number): void {
    child = undefined;
    if (stopping) return;
    const how = signal ? `killed by ${signal}` : `exit code ${code}`;
    if (code !== null && !isUp()) {
      giveUp(new Problem(`${program.name} cannot run (${how}).\n${lastWords(program)}`));
      return;
    }
    if (Date.now() - startedAt > longestDelayMs) restarts = 0;
    const delayMs = Math.min(250 * 2 ** restarts++, longestDelayMs);
    console.log(`  ! ${program.name} ended (${how}); starting it again in ${delayMs / 1000} s`);
    timer = setTimeout(start, delayMs);
  }

  start();
  return {
    async stop() {
      stopping = true;
      clearTimeout(timer);
      const kill = setTimeout(() => child?.kill("SIGKILL"), program.drainMs);
      child?.kill("SIGTERM");
      await ended;
      clearTimeout(kill);
    },
  };
}

/** The error that a process ended with, or else the end of its log. */
function lastWords({ logFile }: Program): string {
  const text = readFileSync(logFile, "utf8").trimEnd();
  const lines = text.split("\n");
  const logged = lines.map(fatalMessage).findLast((message) => message !== undefined);
  const thrown = [...text.matchAll(/^\w*Error.*?: ((?:.|\n)*?)(?=\n\s+at |\n\s*\n|$(?!\n))/gm)].at(
    -1,
  );
  return `${thrown?.[1] ?? logged ?? lines.slice(-8).join("\n")}\n(${logFile})`;
}

/** The message of the error that a line of a log tells of, if that was fatal. */
function fatalMessage(line: string): string | undefined {
  if (!line.startsWith('{"level":"fatal"')) return undefined;
  return (JSON.parse(line) as { error?: { message?: string } }).error?.message;
}
