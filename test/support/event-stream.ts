/** One connection to a job's events by plain `node:http`: cheap enough for thousands of readers in one process. */
import { Agent, get } from "node:http";
import type { LogEvent } from "@glimpse/contracts";
import { logEvent } from "@glimpse/contracts";

export type EventStream = {
  /** Ends it, as a reader that goes away does. */
  cut(): void;
  /** Resolves when it has ended, whoever ended it. */
  closed: Promise<void>;
};

const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });

/** One address has too few ports for many streams that come back at once. Only Linux answers to all of 127/8. */
const addresses = process.platform === "linux" ? 8 : 1;
let opened = 0;

/**
 * Asks for the events after number `after` (-1: all) and calls `onEvent` with each. Resolves once the answer's head is here,
 * to the status in place of a stream if that is not 200, and to 0 when nobody answered.
 */
export function openEventStream(
  url: string,
  id: string,
  after: number,
  onEvent: (event: LogEvent) => void,
): Promise<EventStream | number> {
  return new Promise((resolve) => {
    const request = get(`${url}/v1/jobs/${id}/events`, {
      agent,
      localAddress: `127.0.0.${1 + (opened++ % addresses)}`,
      headers: after < 0 ? {} : { "Last-Event-ID": `${after}` },
    });
    request.on("error", () => resolve(0));
    request.on("response", (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        resolve(response.statusCode ?? 0);
        return;
      }
      const closed = new Promise<void>((end) => response.on("close", end));
      let text = "";
      response.setEncoding("utf8");
      response.on("error", () => {}); // "close" follows
      response.on("data", (part: string) => {
        const frames = `${text}${part}`.split("\n\n");
        text = frames.pop() ?? "";
        for (const frame of frames) {
          const data = /^data: (.*)$/m.exec(frame)?.[1];
          if (data !== undefined) onEvent(logEvent.parse(JSON.parse(data)));
        }
      });
      resolve({ cut: () => void response.destroy(), closed });
    });
  });
}
