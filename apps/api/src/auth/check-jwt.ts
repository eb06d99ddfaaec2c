/** JSON Web Tokens of requests, by jose: algorithms, issuer and audience are the settings', never the token's own. */
import { scopes, tenantId } from "@glimpse/contracts";
import type { JWTPayload, JWTVerifyGetKey } from "jose";
import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from "jose";
import { ApiError } from "../api-error.ts";
import type { Caller, Check, Refused } from "./caller.ts";

export type JwtSettings = {
  /** Where tokens' keys come from: an issuer's key set, or a secret of at least 32 bytes. */
  keys: { url: URL } | { secret: Uint8Array };
  algorithms: string[];
  issuer: string;
  audience: string[];
  /** Claims that must be there besides `iss`, `aud`, `exp` and `iat`. */
  requiredClaims: string[];
  tenantClaim: string;
  /** Its value: scopes in one string with spaces between them, or in a list. */
  scopesClaim: string;
  maxAgeS: number;
  clockToleranceS: number;
};

/** RFC 7515's compact form, stricter than the library reads it: no padding, no white space. */
const form = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** How long an issuer that did not give its keys is left alone. */
const failureCooldownMs = 5_000;

class KeysUnavailable extends Error {}

/** The returned check throws an ApiError `unavailable` when the issuer's keys cannot be had. */
export function createCheckJwt(settings: JwtSettings): Check {
  const { keys, algorithms, issuer, audience, maxAgeS, clockToleranceS } = settings;
  const getKey: JWTVerifyGetKey =
    "url" in keys ? createGetKey(keys.url) : () => Promise.resolve(keys.secret);
  const options = {
    algorithms,
    issuer,
    audience,
    requiredClaims: ["exp", ...settings.requiredClaims],
    maxTokenAge: maxAgeS,
    clockTolerance: clockToleranceS,
  };

  return async function checkJwt(credential) {
    if (!form.test(credential)) return null;
    try {
      const { payload } = await jwtVerify(credential, getKey, options);
      return callerOf(payload, settings);
    } catch (error) {
      if (error instanceof KeysUnavailable) {
        throw new ApiError("unavailable", "Tokens cannot be checked just now. Try again.");
      }
      // A token can make the library fail in many ways; none of them makes it a good one.
      return { refused: error instanceof errors.JOSEError ? error.code : String(error) };
    }
  };
}

function callerOf(payload: JWTPayload, settings: JwtSettings): Caller | Refused {
  const tenant = tenantId.safeParse(payload[settings.tenantClaim]);
  if (!tenant.success) return { refused: `claim ${settings.tenantClaim} is not a tenant` };
  const claim = payload[settings.scopesClaim];
  const granted: unknown[] = typeof claim === "string" ? claim.split(" ") : [claim].flat();
  const known = scopes.filter((scope) => granted.includes(scope));
  return { tenant: tenant.data, scopes: known, key: null };
}

/**
 * Keys of an issuer, read again after ten minutes, and for a token that names an unknown one at most every 30 s. While the
 * issuer does not answer, it is asked every five seconds, and what is known of it is used.
 */
function createGetKey(url: URL): JWTVerifyGetKey {
  const remote = createRemoteJWKSet(url, {
    timeoutDuration: 3_000,
    cooldownDuration: 30_000,
    cacheMaxAge: 600_000,
  });
  let leaveAloneUntil = 0;
  return async function getKey(header, token) {
    if (performance.now() < leaveAloneUntil) {
      const known = remote.fresh ? remote.jwks() : undefined;
      if (known === undefined) throw new KeysUnavailable();
      return createLocalJWKSet(known)(header, token);
    }
    try {
      return await remote(header, token);
    } catch (error) {
      const isOfToken =
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported;
      if (isOfToken) throw error;
      leaveAloneUntil = performance.now() + failureCooldownMs;
      throw new KeysUnavailable("the issuer's keys cannot be had", { cause: error });
    }
  };
}
