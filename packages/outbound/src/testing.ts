/** What a test of a place that takes URLs needs. Not for production. */
export * from "./canaries.ts";
export * from "./hostile-urls.ts";
