export * from "./environment.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./jobs.ts";
export * from "./service.ts";
export * from "./submission.ts";
export * from "./work.ts";
