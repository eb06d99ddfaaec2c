/** Those who receive webhooks, as we tell people to write them: by our client, and by the sample of docs/webhooks.md. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { verifyWebhook } from "@glimpse/client/webhook";
import { freePort } from "../support/redis-server.ts";

export type Message = { headers: Record<string, string>; text: string };

export type Receiver = {
  name: string;
  /** Whether it takes the message for ours. */
  take(message: Message): Promise<boolean>;
  /** The webhook-id of each message that it has acted on. */
  acted(): string[];
  close(): void;
};

export function clientReceiver(secret: string): Receiver {
  const seen = new Set<string>();
  const acted: string[] = [];
  return {
    name: "our client",
    async take({ headers, text }) {
      try {
        verifyWebhook(text, headers, secret);
      } catch {
        return false;
      }
      const id = headers["webhook-id"] ?? "";
      if (!seen.has(id)) acted.push(id);
      seen.add(id);
      return true;
    },
    acted: () => acted,
    close() {},
  };
}

const startMs = 10_000;

/** Runs the page's code, which nobody has touched. */
export async function sampleReceiver(secret: string): Promise<Receiver> {
  const page = await readFile(join(import.meta.dirname, "../../docs/webhooks.md"), "utf8");
  const code = /```ts\n(.*?)```/s.exec(page)?.[1];
  if (code === undefined) throw new Error("docs/webhooks.md has no sample");
  const port = await freePort();
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", code], {
    cwd: import.meta.dirname, // where its imports are looked for
    env: { PATH: process.env.PATH, WEBHOOK_SECRET: secret, PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => (said += part));
  const url = `http://127.0.0.1:${port}`;
  const until = Date.now() + startMs;
  while (!(await fetch(url).catch(() => null))) {
    if (child.exitCode !== null || Date.now() > until) throw new Error("the sample did not start");
    await sleep(20);
  }
  return {
    name: "the sample",
    async take({ headers, text }) {
      const own = Object.entries(headers).filter(([name]) => name.startsWith("webhook-"));
      const { status } = await fetch(url, { method: "POST", headers: own, body: text });
      if (status !== 204 && status !== 400) throw new Error(`the sample answers ${status}`);
      return status === 204;
    },
    acted: () => [...said.matchAll(/^(\S+) \{/gm)].map(([, id = ""]) => id),
    close: () => void child.kill("SIGKILL"),
  };
}
