/** Where pictures are kept, as the environment says it. */
import { z } from "zod";

/** `redis`, `dir:/shared/pictures`, or `s3://bucket/prefix?endpoint=http://host:9000&region=eu-west-1`. */
export const blobPlace = z.string().transform((text, context) => {
  if (text === "redis") return { kind: "redis" as const };
  if (text.startsWith("dir:") && text.length > 4) {
    return { kind: "directory" as const, path: text.slice(4) };
  }
  const url = URL.parse(text);
  const endpoint = url?.searchParams.get("endpoint") ?? null;
  const isUsable = endpoint === null || /^https?:$/.test(URL.parse(endpoint)?.protocol ?? "");
  if (url?.protocol === "s3:" && url.hostname !== "" && isUsable) {
    const folder = url.pathname.replace(/^\/|\/$/g, "");
    return {
      kind: "s3" as const,
      bucket: url.hostname,
      prefix: folder === "" ? "" : `${folder}/`,
      region: url.searchParams.get("region") ?? "us-east-1",
      endpoint,
    };
  }
  context.addIssue({
    code: "custom",
    message: "must be redis, dir:PATH or s3://BUCKET?endpoint=URL",
  });
  return z.NEVER;
});
export type BlobPlace = z.infer<typeof blobPlace>;
