/** The settings' kinds of authentication, put together. */
import type { ApiKeys } from "@glimpse/ledger";
import { createLinks } from "../links.ts";
import type { AuthDeps } from "./authenticate.ts";
import { anybody, anyStranger } from "./caller.ts";
import { createCheckJwt } from "./check-jwt.ts";
import { createCheckKey } from "./check-key.ts";
import type { AuthConfig } from "./settings.ts";

/** `readLinkSecret` is asked when the settings have none. */
export function createAuth(
  { keys, jwt, isLoopback, linkSecret }: AuthConfig,
  apiKeys: Pick<ApiKeys, "read">,
  readLinkSecret: () => Promise<Uint8Array>,
): AuthDeps["auth"] {
  const checkKey = createCheckKey(apiKeys);
  const checks = [
    ...(keys ? [checkKey.check] : []),
    ...(jwt === null ? [] : [createCheckJwt(jwt)]),
  ];
  const everybody = isLoopback ? anybody : anyStranger;
  const ownSecret = linkSecret === undefined ? null : Promise.resolve(Buffer.from(linkSecret));
  return {
    checks: checks.length > 0 ? checks : everybody,
    links: createLinks(() => ownSecret ?? readLinkSecret(), checkKey.isLive),
  };
}
