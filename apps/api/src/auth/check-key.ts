/** API keys of requests. What Redis says of a key is believed for half a second, so that a revoked one ends within one. */
import type { ApiKeys, StoredKey } from "@glimpse/ledger";
import { apiKeyIdOf, isLive, isSameKey } from "@glimpse/ledger";
import { LRUCache } from "lru-cache";
import type { Check } from "./caller.ts";

const believedMs = 500;

/** Keys that are remembered, existing or not: a flood of made-up ids costs no more memory than this. */
const remembered = 10_000;

/** `isLive` tells whether the key of an id can be used just now. Both reject when Redis does not answer. */
export function createCheckKey(apiKeys: Pick<ApiKeys, "read">) {
  const known = new LRUCache<string, { key: StoredKey | null }>({
    max: remembered,
    ttl: believedMs,
    ignoreFetchAbort: true,
    fetchMethod: async (id) => ({ key: await apiKeys.read(id) }),
  });
  const find = async (id: string) => (await known.fetch(id))?.key ?? null;

  const check: Check = async (credential) => {
    const id = apiKeyIdOf(credential);
    if (id === null) return null;
    const key = await find(id);
    if (key === null) return { refused: "no such key" };
    if (!isSameKey(key, credential)) return { refused: `not the secret of key ${id}` };
    if (!isLive(key)) return { refused: `key ${id} has ended` };
    return { tenant: key.tenant, scopes: key.scopes, key: id };
  };
  return {
    check,
    isLive: async (id: string): Promise<boolean> => {
      const key = await find(id);
      return key !== null && isLive(key);
    },
  };
}
