/** Who asks: what the rest of the API knows of authentication. */
import type { Scope } from "@glimpse/contracts";
import { defaultTenant, scopes } from "@glimpse/contracts";

export type Caller = {
  tenant: string;
  scopes: readonly Scope[];
  /** The id of the API key that was used, if one was. */
  key: string | null;
};

/** Everybody, where there is no authentication. */
export const anybody: Caller = { tenant: defaultTenant, scopes, key: null };
