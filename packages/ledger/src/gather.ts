/** Calls of one script, made in one turn of the event loop, in one command. Knows _many.lua; not what the script does. */
import { ReplyError } from "ioredis";
import { z } from "zod";
import type { Argument } from "./scripts.ts";

type Call = {
  keys: string[];
  args: Argument[];
  resolve: (reply: unknown) => void;
  reject: (error: unknown) => void;
};

/** Calls in one command at most: Redis does nothing else meanwhile. */
const portion = 16;

const manyReplies = z.array(
  z.union([z.tuple([z.literal(1), z.unknown()]), z.tuple([z.literal(0), z.string()])]),
);

/**
 * The returned function makes a call, together with the others of its turn. `send` sends them; when that fails they all do,
 * and any of them may have been carried out.
 */
export function createGather(send: (keys: string[], args: Argument[]) => Promise<unknown>) {
  let waiting: Call[] = [];

  function flush(): void {
    const calls = waiting;
    waiting = [];
    for (let i = 0; i < calls.length; i += portion) void sendSome(calls.slice(i, i + portion));
  }

  async function sendSome(calls: Call[]): Promise<void> {
    const keys = calls.flatMap((call) => call.keys);
    const args = calls.flatMap((call) => [call.args.length, ...call.args]);
    try {
      const replies = manyReplies.parse(await send(keys, [calls.length, ...args]));
      for (const [i, { resolve, reject }] of calls.entries()) {
        const [isDone, reply] = replies[i] ?? [0, "ERR no reply"];
        if (isDone === 1) resolve(reply);
        else reject(new ReplyError(reply));
      }
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
  }

  return function call(keys: string[], args: Argument[]): Promise<unknown> {
    if (waiting.length === 0) setImmediate(flush);
    return new Promise((resolve, reject) => waiting.push({ keys, args, resolve, reject }));
  };
}
