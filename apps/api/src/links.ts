/** Signed links: an address that one can read for a while without credentials, as browsers' EventSource must. */
import { SignJWT, errors, jwtVerify } from "jose";
import { z } from "zod";
import type { Caller, Refused } from "./auth/caller.ts";

/** Marks the tokens of links, which are no credentials for anything else. */
const typ = "glimpse-link+jwt";
const algorithm = "HS256";
const claims = z.object({ path: z.string(), tenant: z.string(), key: z.string().nullable() });

export type Links = ReturnType<typeof createLinks>;

/** On whose behalf a link is made, and until when it works; with a `key`, only as long as that key does. */
export type LinkOptions = { tenant: string; key?: string | null; expiresAt: Date };

/** `readSecret` gives the bytes that all processes share; `isLive` tells whether the API key of an id can be used. */
export function createLinks(
  readSecret: () => Promise<Uint8Array>,
  isLive: (key: string) => Promise<boolean>,
) {
  return {
    /** The path (`/v1/...`, without a query) with a token that allows to GET it. */
    async sign(path: string, { tenant, key = null, expiresAt }: LinkOptions): Promise<string> {
      const token = await new SignJWT({ path, tenant, key })
        .setProtectedHeader({ alg: algorithm, typ })
        .setExpirationTime(expiresAt)
        .sign(await readSecret());
      return `${path}?token=${token}`;
    },

    /** Who may read `path` with this token: its tenant, and nothing else of it. */
    async check(path: string, token: string): Promise<Caller | Refused> {
      try {
        const options = { algorithms: [algorithm], typ, requiredClaims: ["exp"] };
        const { payload } = await jwtVerify(token, await readSecret(), options);
        const { path: signed, tenant, key } = claims.parse(payload);
        if (signed !== path) return { refused: "a link to something else" };
        if (key !== null && !(await isLive(key))) return { refused: `key ${key} has ended` };
        return { tenant, scopes: ["jobs:read"], key };
      } catch (error) {
        if (error instanceof errors.JOSEError) return { refused: error.code };
        throw error;
      }
    },
  };
}
