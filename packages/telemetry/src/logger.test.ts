import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const logger = new URL("./logger.ts", import.meta.url).href;

/** The messages that a process with this code has written when it has ended, however it does. */
async function messagesOf(code: string): Promise<string[]> {
  const script = `import { createProcessLogger } from ${JSON.stringify(logger)}; const log = createProcessLogger("t"); ${code}`;
  const ended = run(process.execPath, ["--input-type=module-typescript", "-e", script]);
  const { stdout } = await ended.catch((error: { stdout: string }) => error);
  return stdout.split("\n").flatMap((line) => (line ? [JSON.parse(line).msg as string] : []));
}

test("no line is lost when the process ends in the turn that wrote it", async () => {
  const two = `log.info("one"); log.info("two");`;
  expect(await messagesOf(two)).toEqual(["one", "two"]);
  expect(await messagesOf(`${two} process.exit(3);`)).toEqual(["one", "two"]);
  expect(await messagesOf(`${two} throw new Error("no");`)).toEqual(["one", "two", "crashed"]);
});

test("lines are out when the turn is over, and keep their order however many they are", async () => {
  const many = `for (let i = 0; i < 2_000; i++) log.info(String(i)); setTimeout(() => process.kill(process.pid, "SIGKILL"), 50);`;
  expect(await messagesOf(many)).toEqual(Array.from({ length: 2_000 }, (_, i) => String(i)));
});

test("the disk is not waited for where the log is a file", async () => {
  const counted = `import fs from "node:fs"; let waits = 0; const { fsyncSync } = fs; fs.fsyncSync = (fd) => { waits++; fsyncSync(fd); };`;
  const code = `${counted} log.info("one"); setTimeout(() => { log.info("two"); setTimeout(() => { log.info(String(waits)); }, 20); }, 20);`;
  expect(await messagesOf(code)).toEqual(["one", "two", "0"]);
});
