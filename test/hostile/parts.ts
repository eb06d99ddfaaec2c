/** All parts of `pnpm test:hostile`: one line each. */
import { http } from "./http.ts";
import type { Part } from "./rows.ts";

export const parts: Part[] = [http];
