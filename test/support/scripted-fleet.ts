/** TEST ONLY. The fleet's process, with scripted workers (scripted-worker.ts) in place of real ones. */
import { createProcessLogger } from "@glimpse/telemetry";
// oxlint-disable-next-line no-restricted-imports -- this file is a process of its own: a second main.ts
import { readConfig } from "@glimpse/worker/config";
// oxlint-disable-next-line no-restricted-imports
import { runFleet } from "@glimpse/worker/run-fleet";

const log = createProcessLogger("fleet");
runFleet(new URL("scripted-worker.ts", import.meta.url), { config: readConfig(), log });
