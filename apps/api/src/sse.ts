/** Server-sent events from a job's events. A client that reads slowly is waited for: frames are made as they are taken. */
import type { Gap, JobEvent } from "@glimpse/contracts";
import type { Idle } from "./follow.ts";

export const sseHeaders = {
  "Content-Type": "text/event-stream",
  // Proxies that compress or buffer would hold events back.
  "Cache-Control": "no-cache, no-transform",
  "X-Accel-Buffering": "no",
};

/** A body that streams `events`. An error among them is told to `onError` and ends it; the client comes back for the rest. */
export function sseStream(
  events: AsyncGenerator<JobEvent | Gap | Idle>,
  onError: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  async function* frames(): AsyncGenerator<Uint8Array> {
    try {
      yield encoder.encode("retry: 2000\n\n");
      for await (const event of events) yield encoder.encode(frame(event));
    } catch (error) {
      onError(error);
    }
  }
  return ReadableStream.from(frames());
}

function frame(event: JobEvent | Gap | Idle): string {
  if (event.type === "idle") return ": idle\n\n";
  const id = event.type === "gap" ? event.to : event.id;
  return `id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
