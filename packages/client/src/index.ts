export * from "./answer.ts";
export * from "./client.ts";
export * from "./errors.ts";
export type { Gap, Job, JobEvent, JobList } from "@glimpse/contracts";
