/** API keys: what they allow, and how the admin API shows them. */
import { z } from "zod";

/** What a caller may do: read jobs, make and change them, or manage the service. None contains another. */
export const scopes = ["jobs:read", "jobs:write", "admin"] as const;
export const scope = z.enum(scopes);
export type Scope = z.infer<typeof scope>;
