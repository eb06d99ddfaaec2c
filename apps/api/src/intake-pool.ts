/** Takes bodies in where it hurts nobody: small ones in place, others in threads (20 MB of base64 take 0.2 s of a core). */
import { Piscina } from "piscina";
import { ApiError } from "./api-error.ts";
import type { Config } from "./config.ts";
import type { Intake } from "./intake.ts";
import type { IntakeConfig, IntakeReply, IntakeTask } from "./intake-thread.ts";

/** Up to this size a body takes about a millisecond. */
const smallBytes = 64 * 1024;

/** `inPlace` is for bodies that are small and name no URL, behind which there may be megabytes. Threads get none of `auth`'s secrets. */
export function createIntakePool(
  { auth: _auth, ...config }: Config,
  inPlace: Intake,
): { takeIn: Intake; close(): Promise<void> } {
  const pool = new Piscina<IntakeTask, IntakeReply>({
    filename: new URL("./intake-thread.ts", import.meta.url).href,
    workerData: config satisfies IntakeConfig,
    minThreads: 1,
    maxThreads: 2,
    // Most of a task's time is waiting, for Redis or for a picture's host, and slow hosts shall not hold up others' bodies.
    concurrentTasksPerWorker: 64,
    // By default an idle thread waits without its event loop, and Redis would lose it.
    atomics: "disabled",
  });
  return {
    async takeIn(bytes, contentType, choice, from) {
      if (
        bytes.length <= smallBytes &&
        !Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes("://")
      ) {
        return inPlace(bytes, contentType, choice, from);
      }
      const reply = await pool.run(
        { bytes, contentType, choice, from },
        { transferList: [bytes.buffer] },
      );
      if (!reply.ok) throw new ApiError(reply.code, reply.message, reply.param);
      return reply.taken;
    },
    close: () => pool.close({ force: true }),
  };
}
