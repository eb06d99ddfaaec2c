export * from "./address.ts";
export * from "./check.ts";
export * from "./fetch-outside.ts";
export * from "./outbound-error.ts";
export * from "./policy.ts";
