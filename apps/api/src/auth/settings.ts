/** The part of the environment that says who may ask. */
import { count } from "@glimpse/contracts";
import { z } from "zod";
import type { JwtSettings } from "./check-jwt.ts";

const list = z
  .string()
  .transform((text) => text.split(",").map((entry) => entry.trim()))
  .pipe(z.array(z.string().min(1)));

const symmetric = ["HS256", "HS384", "HS512"] as const;
const asymmetric = "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,Ed25519".split(",");

export const authEnvironment = z.object({
  /** Which credentials are accepted. `none` is the default on an address that only this machine can reach. */
  AUTH: z.enum(["none", "keys", "jwt", "keys,jwt", "jwt,keys"]).optional(),
  /** Where the issuer of tokens shows its keys; https, unless it is on this machine. */
  JWT_JWKS_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Signs tokens instead of an issuer's keys. */
  JWT_SECRET: z.string().min(32).optional(),
  /** By default RS256, PS256, ES256 and EdDSA; with JWT_SECRET HS256. */
  JWT_ALGORITHMS: list.optional(),
  JWT_ISSUER: z.string().min(1).optional(),
  /** One or several, with commas. */
  JWT_AUDIENCE: list.optional(),
  /** Claims that must be there besides iss, aud, exp and iat. */
  JWT_REQUIRED_CLAIMS: list.default([]),
  JWT_TENANT_CLAIM: z.string().min(1).default("tenant"),
  JWT_SCOPES_CLAIM: z.string().min(1).default("scope"),
  /** How long after its `iat` a token is accepted at most. */
  JWT_MAX_AGE_S: count(86_400),
  JWT_CLOCK_TOLERANCE_S: z.coerce.number().int().min(0).max(300).default(5),
  /** Signs links; by default one that is made once and kept in Redis. */
  LINK_SECRET: z.string().min(32).optional(),
});

type AuthEnvironment = z.infer<typeof authEnvironment>;

export type AuthConfig = {
  keys: boolean;
  jwt: JwtSettings | null;
  /** Who everybody is when neither is accepted. */
  isLoopback: boolean;
  linkSecret: string | undefined;
};

/** Throws when the settings of tokens do not go together, and when the address needs authentication that there is not. */
export function readAuth(env: AuthEnvironment, host: string, isLoopback: boolean): AuthConfig {
  if (env.AUTH === undefined && !isLoopback) {
    throw new Error(
      `HOST=${host} can be reached by others and there is no authentication. ` +
        "Choose AUTH=keys or AUTH=jwt, listen on 127.0.0.1, or say that you mean it: AUTH=none.",
    );
  }
  const kinds = env.AUTH?.split(",") ?? [];
  return {
    keys: kinds.includes("keys"),
    jwt: kinds.includes("jwt") ? readJwt(env) : null,
    isLoopback,
    linkSecret: env.LINK_SECRET,
  };
}

function readJwt(env: AuthEnvironment): JwtSettings {
  const { JWT_JWKS_URL: url, JWT_SECRET: secret, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = env;
  if (issuer === undefined || audience === undefined) {
    throw new Error("AUTH=jwt needs JWT_ISSUER and JWT_AUDIENCE.");
  }
  if ((url === undefined) === (secret === undefined)) {
    throw new Error("AUTH=jwt needs either JWT_JWKS_URL or JWT_SECRET.");
  }
  const possible: readonly string[] = url === undefined ? symmetric : asymmetric;
  const usual = url === undefined ? ["HS256"] : ["RS256", "PS256", "ES256", "EdDSA"];
  const algorithms = env.JWT_ALGORITHMS ?? usual;
  const impossible = algorithms.find((algorithm) => !possible.includes(algorithm));
  if (impossible !== undefined) {
    throw new Error(`JWT_ALGORITHMS: with these keys there is only ${possible.join(", ")}.`);
  }
  return {
    keys: url === undefined ? { secret: Buffer.from(secret ?? "") } : { url: readUrl(url) },
    algorithms,
    issuer,
    audience,
    requiredClaims: env.JWT_REQUIRED_CLAIMS,
    tenantClaim: env.JWT_TENANT_CLAIM,
    scopesClaim: env.JWT_SCOPES_CLAIM,
    maxAgeS: env.JWT_MAX_AGE_S,
    clockToleranceS: env.JWT_CLOCK_TOLERANCE_S,
  };
}

function readUrl(text: string): URL {
  const url = new URL(text);
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url.protocol === "https:" || isHere) return url;
  throw new Error("JWT_JWKS_URL must be https: whoever answers in its place could make tokens.");
}
