/** What a worker tells the fleet that started it, every second and over the pipe between them: that it lives, and what it does. */
import { z } from "zod";

/** Loose, because during a deployment the two may be of different releases. */
export const report = z.looseObject({
  /** Jobs that it runs. */
  running: z.int(),
  /** Jobs that it has come to an end with since its start. */
  ended: z.int(),
});
export type Report = z.infer<typeof report>;

export const reportEveryMs = 1_000;

/** Reports now and from now on, when there is somebody to report to. `onOrphaned` is called when the fleet is gone. */
export function reportToFleet(read: () => Report, onOrphaned: () => void): void {
  if (process.send === undefined) return;
  const send = () => process.connected && process.send?.(read());
  send();
  setInterval(send, reportEveryMs).unref();
  process.once("disconnect", onOrphaned);
}
