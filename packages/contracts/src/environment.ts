/** Pieces of the environment that several processes share, so that they cannot read them differently. */
import { z } from "zod";
import { blobPlace } from "./blob-place.ts";
import { modelName } from "./jobs.ts";

/** A positive whole number with a default. */
export function count(fallback: number) {
  return z.coerce.number().int().positive().default(fallback);
}

export const sharedEnvironment = z.object({
  REDIS_URL: z.url({ protocol: /^rediss?$/ }).default("redis://127.0.0.1:6379"),
  /** First part of every key; several systems can share one Redis. */
  KEY_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/)
    .default("glimpse"),
  SHARD: z
    .string()
    .regex(/^[a-z0-9]{1,16}$/)
    .default("0"),
  MODEL_DIR: z.string().min(1).default("models/nano"),
  /** The model folder's name by default. */
  MODEL_NAME: modelName.optional(),
  MODEL_VERSION: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,32}$/)
    .default("1"),
  /** Pictures by their headers, before anything is decoded: the API refuses with it, the worker checks again. */
  MAX_IMAGE_PIXELS: count(40_000_000),
  MIN_IMAGE_SIDE: count(8),
  /** One side over the other. The model itself takes no more than 200. */
  MAX_IMAGE_ASPECT_RATIO: z.coerce.number().min(1).max(200).default(200),
  /** Where pictures are kept: the same place for all processes. */
  BLOBS: blobPlace.prefault("redis"),
  /** All pictures together; more are refused. */
  MAX_BLOB_BYTES: z.coerce.number().int().positive().optional(),
  /** How long a finished job can be read. */
  RETENTION_S: count(24 * 3600),
  LOG_LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
});

/** `true` or `false`, with a default. */
export function flag(fallback: boolean) {
  return z
    .enum(["true", "false"])
    .transform((word) => word === "true")
    .default(fallback);
}

/** Entries with commas between them; none by default. */
function list(entry: z.ZodType<string, string>) {
  return z
    .string()
    .transform((text) => text.split(",").map((part) => part.trim()))
    .pipe(z.array(entry))
    .default([]);
}

/** Where the API (pictures) and the courier (webhooks) may go when a stranger names the address. */
export const outboundEnvironment = z.object({
  /** Let through although private: addresses, CIDR ranges, names, and `.domain` for all names below it. */
  OUTBOUND_ALLOW: list(
    z.union([
      z.ipv4(),
      z.ipv6(),
      z.cidrv4(),
      z.cidrv6(),
      z
        .string()
        .toLowerCase()
        .regex(/^\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/, "must be an address, a range or a name"),
    ]),
  ),
  /** The ports that may be named, or `any`. */
  OUTBOUND_PORTS: z
    .union([
      z.literal("any"),
      z
        .string()
        .transform((text) => text.split(","))
        .pipe(z.array(z.coerce.number<string>().int().min(1).max(65_535)).min(1)),
    ])
    .default([80, 443]),
  /** Whether http:// is taken, too. */
  OUTBOUND_HTTP: flag(true),
  /** Name servers (`address` or `address:port`) to ask for strangers' names; the machine's own by default. */
  OUTBOUND_DNS: list(
    z
      .string()
      .regex(
        /^([0-9.]+(:\d{1,5})?|[0-9a-f:.]+|\[[0-9a-f:.]+\](:\d{1,5})?)$/i,
        "must be an address",
      ),
  ),
});
export type OutboundEnvironment = z.infer<typeof outboundEnvironment>;

/** The model's name and version from the environment: `{model: "nano", version: "nano@1"}`. */
export function servedModel(env: z.infer<typeof sharedEnvironment>): {
  model: string;
  version: string;
} {
  const folder = env.MODEL_DIR.replace(/[\\/]+$/, "")
    .split(/[\\/]/)
    .at(-1);
  const model = env.MODEL_NAME ?? modelName.parse(folder);
  return { model, version: `${model}@${env.MODEL_VERSION}` };
}

/** Parses an environment, or throws one line a variable: what is wrong, never its value. */
export function parseEnvironment<T extends z.ZodType>(
  schema: T,
  env: Record<string, string | undefined>,
): z.infer<T> {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`The environment is not valid:\n${lines.join("\n")}`);
}
