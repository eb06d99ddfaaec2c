/** The process that is started: a fleet of workers, one a card. */
import { createProcessLogger } from "@glimpse/telemetry";
import { readConfig } from "./config.ts";
import { runFleet } from "./run-fleet.ts";

const log = createProcessLogger("fleet");
const config = readConfig();
log.level = config.logLevel;
runFleet(new URL("child.ts", import.meta.url), { config, log });
