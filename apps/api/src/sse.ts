/** Server-sent events from a job's events. A client that reads slowly is waited for, one that does not read is cut. */
import type { Context } from "hono";
import type { AppEnv } from "./errors.ts";
import type { Followed } from "./follow.ts";
import { isGap, isIdle } from "./follow.ts";
import { createLeaving } from "./leaving.ts";

const headers = {
  "Content-Type": "text/event-stream",
  // Proxies that compress or buffer would hold events back.
  "Cache-Control": "no-cache, no-transform",
  "X-Accel-Buffering": "no",
};

/** The answer that is this stream of `createSse`. */
export function answerWith(c: Context<AppEnv>, stream: ReadableStream<Uint8Array>): Response {
  c.set("isEventStream", true);
  return c.body(stream, 200, headers);
}

/** A comment: keeps the connection from being taken for dead. */
export const idleFrame = ": idle\n\n";

const chunkChars = 16 * 1024;

export type SseOptions = {
  /** Aborted when this process is about to stop: its readers are asked to come back, and the streams end. */
  closing: AbortSignal;
  /** How long a reader may take over one chunk. */
  stallMs: number;
};

/** How a stream speaks; empty text is not sent. */
export type SseForm = {
  opening: () => string;
  frame: (event: Followed) => string;
  /** The last words: because this process stops, because the events broke off, or because there are no more. */
  ending: (why: "closing" | "error" | "over") => string;
};

const native: SseForm = {
  opening: () => comeBack(1_000, 3_000),
  frame,
  ending: (why) => (why === "closing" ? `: this server stops\n${comeBack(100, 2_000)}` : ""),
};

export type SseEvents = {
  /** Told that the reader was slower than that: the connection is to be cut. Its client comes back for the rest. */
  onStall: () => void;
  /** Told that the reader has gone. */
  onGone?: () => void;
  /** Told why the events broke off; the stream ends, and its client comes back for the rest. */
  onError: (error: unknown) => void;
};

/** Returns how to make a body that streams what `follow` yields until its signal, which is aborted when nobody reads any more. */
export function createSse({ closing, stallMs }: SseOptions) {
  const encoder = new TextEncoder();
  const leaving = createLeaving(closing);

  return function sseStream(
    follow: (until: AbortSignal) => AsyncGenerator<Followed[]>,
    { onStall, onGone, onError }: SseEvents,
    form: SseForm = native,
  ): ReadableStream<Uint8Array> {
    const until = leaving.enter();
    let stall: NodeJS.Timeout | undefined;

    async function* frames(): AsyncGenerator<string> {
      try {
        yield* spoken(form.opening());
        for await (const events of follow(until.signal)) yield* chunks(events, form.frame);
        yield* spoken(form.ending(closing.aborted ? "closing" : "over"));
      } catch (error) {
        onError(error);
        yield* spoken(form.ending("error"));
      } finally {
        leaving.leave(until);
      }
    }

    const source = frames();
    return new ReadableStream(
      {
        async pull(controller) {
          clearTimeout(stall);
          const { done, value } = await source.next();
          if (done) return controller.close();
          controller.enqueue(encoder.encode(value));
          stall = setTimeout(onStall, stallMs);
        },
        async cancel() {
          clearTimeout(stall);
          until.abort("gone");
          onGone?.();
          await source.return(undefined);
        },
      },
      // Frames are made as they are taken.
      { highWaterMark: 0 },
    );
  };
}

/** When a client that was cut off shall come back: not all at once. */
function comeBack(minMs: number, maxMs: number): string {
  return `retry: ${Math.round(minMs + (maxMs - minMs) * Math.random())}\n\n`;
}

/** Few writes for many events, but none so big that a slow reader would take long over it. */
function* chunks(events: Followed[], frameOf: SseForm["frame"]): Generator<string> {
  let chunk = "";
  for (const event of events) {
    chunk += frameOf(event);
    if (chunk.length < chunkChars) continue;
    yield chunk;
    chunk = "";
  }
  yield* spoken(chunk);
}

/** An empty chunk is none. */
function* spoken(text: string): Generator<string> {
  if (text !== "") yield text;
}

function frame(event: Followed): string {
  if (isIdle(event)) return idleFrame;
  const id = isGap(event) ? event.to : event.id;
  return `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
