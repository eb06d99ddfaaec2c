/** Parses bodies where it hurts nobody: small ones in place, big ones in a thread (20 MB of base64 take 0.2 s). */
import { Piscina } from "piscina";
import { ApiError } from "./api-error.ts";
import type { Limits } from "./config.ts";
import type { ParsedBody } from "./parse-body.ts";
import { parseBody } from "./parse-body.ts";
import type { ParseReply, ParseTask } from "./parse-thread.ts";

/** Up to this size parsing takes about a millisecond. */
const smallBytes = 64 * 1024;

export type Parser = ReturnType<typeof createParser>;

export function createParser(limits: Limits) {
  const pool = new Piscina<ParseTask, ParseReply>({
    filename: new URL("./parse-thread.ts", import.meta.url).href,
    minThreads: 1,
    maxThreads: 2,
    // A thread that waits spins by default; ours waits for its event loop.
    atomics: "disabled",
  });
  return {
    /** Throws ApiErrors. The bytes may be gone afterwards. */
    async parse(bytes: Uint8Array<ArrayBuffer>, contentType: string): Promise<ParsedBody> {
      if (bytes.length <= smallBytes) return parseBody(bytes, contentType, limits);
      const reply = await pool.run(
        { bytes, contentType, limits },
        { transferList: [bytes.buffer] },
      );
      if (!reply.ok) throw new ApiError(reply.code, reply.message, reply.param);
      return reply.body;
    },
    close: () => pool.close({ force: true }),
  };
}
