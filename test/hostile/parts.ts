/** All parts of `pnpm test:hostile`: one line each. */
import { browser } from "./browser.ts";
import { fuzz } from "./fuzz.ts";
import { http } from "./http.ts";
import { json } from "./json.ts";
import { limits } from "./limits.ts";
import { pictures } from "./pictures.ts";
import { prompts } from "./prompts.ts";
import { retries } from "./retries.ts";
import type { Part } from "./rows.ts";
import { ssrf } from "./ssrf.ts";
import { slow } from "./slow.ts";
import { webhooks } from "./webhooks.ts";

export const parts: Part[] = [
  http,
  browser,
  json,
  fuzz,
  retries,
  limits,
  prompts,
  ssrf,
  webhooks,
  pictures,
  slow,
];
