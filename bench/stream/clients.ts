/** Many readers of event streams in one process, told what to do by its parent. Checks that each stream's events are numbered without a gap or a repetition. */
import { setTimeout as sleep } from "node:timers/promises";
import type { LogEvent } from "@glimpse/contracts";
import { isTerminal } from "@glimpse/contracts";
import type { EventStream } from "@glimpse/test/event-stream";
import { openEventStream } from "@glimpse/test/event-stream";
import { z } from "zod";

/** What the parent may ask for: open all streams, `atOnce` at a time; cut all; or say how they are. */
export const order = z.discriminatedUnion("do", [
  z.object({
    do: z.literal("open"),
    url: z.string(),
    ids: z.array(z.string()),
    atOnce: z.number(),
  }),
  z.object({ do: z.literal("cut") }),
  z.object({ do: z.literal("report") }),
]);
export type Order = z.infer<typeof order>;

/** The answer to every order. `connectMs`: from the request to the answer's head, of each stream since the last `open`. */
export const report = z.object({
  open: z.int(),
  ended: z.int(),
  refused: z.int(),
  wrong: z.int(),
  connectMs: z.array(z.number()),
  deltaMs: z.array(z.number()),
});
export type Report = z.infer<typeof report>;

/** A stream that is refused for longer than this will never be opened. */
const patienceMs = 60_000;

type Reader = { id: string; next: number; hasEnded: boolean; stream: EventStream | null };

const readers = new Map<string, Reader>();
let refused = 0;
let wrong = 0;
let connectMs: number[] = [];
const deltaMs: number[] = [];

process.on("message", (message) => void obey(order.parse(message)));
process.once("disconnect", () => process.exit());

async function obey(command: Order): Promise<void> {
  if (command.do === "open") await openAll(command);
  if (command.do === "cut") {
    const open = [...readers.values()].flatMap(({ stream }) => stream ?? []);
    for (const stream of open) stream.cut();
    await Promise.all(open.map(({ closed }) => closed));
  }
  const all = [...readers.values()];
  const now: Report = {
    open: all.filter(({ stream }) => stream !== null).length,
    ended: all.filter(({ hasEnded }) => hasEnded).length,
    refused,
    wrong,
    connectMs,
    deltaMs: command.do === "report" ? deltaMs : [],
  };
  process.send?.(now);
}

async function openAll({ url, ids, atOnce }: Order & { do: "open" }): Promise<void> {
  connectMs = [];
  refused = 0;
  const waiting = ids.values();
  const opener = async () => {
    for (const id of waiting) {
      const reader = readers.get(id) ?? { id, next: 0, hasEnded: false, stream: null };
      readers.set(id, reader);
      const startedAt = performance.now();
      while (!(await open(url, reader))) {
        refused++;
        if (performance.now() - startedAt > patienceMs) throw new Error("a stream stays refused");
        await sleep(100);
      }
      connectMs.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, opener));
}

async function open(url: string, reader: Reader): Promise<boolean> {
  const stream = await openEventStream(url, reader.id, reader.next - 1, (event) => {
    hear(reader, event);
  });
  if (typeof stream === "number") return false;
  reader.stream = stream;
  void stream.closed.then(() => {
    if (reader.stream === stream) reader.stream = null;
  });
  return true;
}

function hear(reader: Reader, { id, type, at_ms }: LogEvent): void {
  if (id !== reader.next || reader.hasEnded) wrong++;
  reader.next = id + 1;
  reader.hasEnded = isTerminal(type);
  if (type === "delta") deltaMs.push(Date.now() - at_ms);
}
