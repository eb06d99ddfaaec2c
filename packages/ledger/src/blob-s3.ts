/** Pictures' bytes in a bucket of S3 or of what speaks like it. Credentials come from where the SDK looks for them: AWS_ variables, roles. */
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import type { BlobStore } from "./blobs.ts";
import { BlobError } from "./blobs.ts";

/** `prefix` comes before every name; `endpoint` is another server than Amazon's. */
export type Bucket = { bucket: string; prefix: string; region: string; endpoint: string | null };

export function createS3Store({ bucket, prefix, region, endpoint }: Bucket): BlobStore {
  const client = new S3Client({
    region,
    maxAttempts: 2,
    requestHandler: { connectionTimeout: 1_000, requestTimeout: 10_000 },
    // Not every server that speaks S3 knows the newer checksums, or buckets as host names.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    ...(endpoint !== null && { endpoint, forcePathStyle: true }),
  });
  const object = (name: string) => ({ Bucket: bucket, Key: `${prefix}${name}` });

  return {
    async put(name, bytes) {
      await ask(client.send(new PutObjectCommand({ ...object(name), Body: bytes })));
    },
    get: (name) =>
      askFor(
        client
          .send(new GetObjectCommand(object(name)))
          .then(({ Body }) => Body?.transformToByteArray() ?? null),
      ),
    has: async (name) => (await askFor(client.send(new HeadObjectCommand(object(name))))) !== null,
    async delete(name) {
      await ask(client.send(new DeleteObjectCommand(object(name))));
    },
  };
}

/** Null when there is no such object. */
function askFor<T>(answer: Promise<T>): Promise<T | null> {
  return ask(
    answer.catch((error: unknown) => {
      // HEAD has no body to say NoSuchKey in; NoSuchBucket is 404 as well, and not an answer.
      if (isNamed(error, "NoSuchKey") || isNamed(error, "NotFound")) return null;
      throw error;
    }),
  );
}

async function ask<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const isFull = error instanceof S3ServiceException && error.$metadata.httpStatusCode === 507;
    if (isFull) throw new BlobError("full", "the pictures' bucket is full", error);
    throw new BlobError("unavailable", "the pictures' bucket cannot be used", error);
  }
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof S3ServiceException && error.name === name;
}
