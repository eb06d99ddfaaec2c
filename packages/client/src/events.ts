/** A job's events over as many connections as it takes. Knows server-sent events; each new connection names the last event seen. */
import type { Gap, JobEvent } from "@glimpse/contracts";
import { endsLog, gap, jobEvent } from "@glimpse/contracts";
import type { EventSourceMessage } from "eventsource-parser";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { GlimpseError, unreachable } from "./errors.ts";
import type { Http } from "./http.ts";
import { pause } from "./http.ts";

const known = jobEvent.or(gap);

/** The server sends a comment at least every 15 s: a connection that is silent for so long is dead. */
const silenceMs = 45_000;

/** Yields until the terminal event. Throws GlimpseError when it cannot connect `maxRetries` times in a row. */
export async function* readEvents(
  http: Http,
  path: string,
  after: number,
  signal?: AbortSignal,
): AsyncGenerator<JobEvent | Gap> {
  let last = after;
  let tries = 0;
  for (;;) {
    try {
      for await (const event of connect(http, path, last, signal)) {
        tries = 0;
        const number = event.type === "gap" ? event.to : event.id;
        if (number <= last) continue;
        last = number;
        yield event;
        if (endsLog(event)) return;
      }
      // A server that stops, or a proxy that has had enough: not a failure, so that it is never given up.
      tries = Math.min(tries, 1);
    } catch (error) {
      if (error instanceof Ended) return;
      if (!(error instanceof GlimpseError) || !error.retryable || tries >= http.maxRetries)
        throw error;
    }
    await pause(tries++, null, signal);
  }
}

/** There are no more events. */
class Ended extends Error {}

/** The events of one connection. */
async function* connect(
  http: Http,
  path: string,
  last: number,
  signal?: AbortSignal,
): AsyncGenerator<JobEvent | Gap> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), silenceMs);
  const until = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
  try {
    const headers = {
      Accept: "text/event-stream",
      ...(last >= 0 && { "Last-Event-ID": `${last}` }),
    };
    const response = await http.callOnce(path, { headers, signal: until });
    if (response.status === 204 || response.body === null) throw new Ended();
    const heard = new TransformStream<string, string>({
      transform(chunk, out) {
        timer.refresh();
        out.enqueue(chunk);
      },
    });
    const messages: ReadableStream<EventSourceMessage> = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(heard)
      .pipeThrough(new EventSourceParserStream());
    for await (const { data } of messages) {
      const event = known.safeParse(parseJson(data));
      if (event.success) yield event.data;
    }
  } catch (error) {
    if (error instanceof GlimpseError || error instanceof Ended) throw error;
    signal?.throwIfAborted();
    throw unreachable(error);
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreachable(cause);
  }
}
