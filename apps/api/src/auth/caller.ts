/** Who asks: what the rest of the API knows of authentication. */
import type { Scope } from "@glimpse/contracts";
import { defaultTenant, scopes } from "@glimpse/contracts";

export type Caller = {
  tenant: string;
  scopes: readonly Scope[];
  /** The id of the API key that was used, if one was. */
  key: string | null;
};

/** Why a credential was not accepted: for our log, never for whoever sent it. */
export type Refused = { refused: string };

/** Finds out whose a credential is; null when it is not of this kind. */
export type Check = (credential: string) => Promise<Caller | Refused | null>;

/** Everybody, where there is no authentication and nobody else can reach us. */
export const anybody: Caller = { tenant: defaultTenant, scopes, key: null };

/** Everybody, where there is no authentication and others can reach us. */
export const anyStranger: Caller = { ...anybody, scopes: ["jobs:read", "jobs:write"] };

/** Whoever asks for what is public: owns nothing, since no tenant has this name. */
export const nobody: Caller = { tenant: "", scopes: [], key: null };
