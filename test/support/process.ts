/** One of our processes as a child: its log, its end, and signals by its id. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

type LogLine = Record<string, unknown> & { msg?: string };

export type Running = {
  pid: number;
  /** All lines of its log so far. */
  log: LogLine[];
  /** The first line, past or to come, with this message. Rejects when the process ends without it. */
  logged(msg: string): Promise<LogLine>;
  /** Sends the signal and resolves to the exit code, null when the signal ended it. */
  kill(signal: NodeJS.Signals): Promise<number | null>;
  exited: Promise<number | null>;
};

/** Ends a child whose parent was killed, such as an interrupted test run. */
const orphan = new URL("../../scripts/orphan.mjs", import.meta.url).href;

/** What Node has compiled: shared by all, and not in a data folder, where a process that outlives its test would still write to it. */
const codeCache = fileURLToPath(new URL("../../node_modules/.cache/code", import.meta.url));

/** Starts `node file` with this environment on top of a bare one. */
export function startProcess(file: string, env: Record<string, string>): Running {
  const child: ChildProcess = spawn(process.execPath, ["--import", orphan, file], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_COMPILE_CACHE: codeCache,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log: LogLine[] = [];
  const waiting = new Set<() => void>();
  const stderr: string[] = [];
  let ended = false;
  child.stderr?.on("data", (data: Buffer) => stderr.push(data.toString()));
  const notify = () => {
    for (const check of waiting) check();
  };
  if (child.stdout) {
    createInterface(child.stdout).on("line", (line) => {
      log.push(line.startsWith("{") ? (JSON.parse(line) as LogLine) : { msg: line });
      notify();
    });
  }
  const exited = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => {
      ended = true;
      notify();
      resolve(code);
    });
  });
  return {
    pid: child.pid ?? 0,
    log,
    exited,
    logged: (msg) =>
      new Promise((resolve, reject) => {
        const check = () => {
          const line = log.find((candidate) => candidate.msg === msg);
          if (line === undefined && !ended) return;
          waiting.delete(check);
          if (line !== undefined) resolve(line);
          else
            reject(
              new Error(
                `${file} ended without "${msg}":\n${stderr.join("")}${JSON.stringify(log.slice(-5))}`,
              ),
            );
        };
        waiting.add(check);
        check();
      }),
    kill(signal) {
      child.kill(signal);
      return exited;
    },
  };
}
