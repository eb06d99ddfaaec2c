export { apiKeyIdOf, createApiKeys, isLive, isSameKey } from "./api-keys.ts";
export type { ApiKeys, StoredKey } from "./api-keys.ts";
export { createAuditLog } from "./audit.ts";
export type { AuditLog } from "./audit.ts";
export { createBatches, createFiles } from "./batches.ts";
export type { Batches, Files } from "./batches.ts";
export { BlobError } from "./blobs.ts";
export type { Blobs } from "./blobs.ts";
export { createDeliveries, deliveryIdOf, newDeliveryId } from "./deliveries.ts";
export type {
  Deliveries,
  DeliveryIndex,
  DeliveryPosition,
  NewDelivery,
  OpenDelivery,
  TryVerdict,
} from "./deliveries.ts";
export { createEndpoints, signing } from "./endpoints.ts";
export type { Endpoints } from "./endpoints.ts";
export { createConfirm } from "./confirm.ts";
export type { Confirm } from "./confirm.ts";
export { fingerprint } from "./fingerprint.ts";
export { createKeys } from "./keys.ts";
export type { Keys } from "./keys.ts";
export { createReadLinkSecret } from "./link-secret.ts";
export { createLedger } from "./ledger.ts";
export type { Attempt, Ledger, LogPiece, Outcome, Pace, Start } from "./ledger.ts";
export type { NewJob, Submitted } from "./submit.ts";
export type { JobFilter, JobPage, ListPosition } from "./list.ts";
export { openBlobs } from "./open-blobs.ts";
export { parseEvent, typeOfEvent } from "./log.ts";
export { createAnnounce, createOutbox } from "./outbox.ts";
export type { Notice, Outbox, Taken } from "./outbox.ts";
export { createQueues } from "./queue.ts";
export type { Queues } from "./queue.ts";
export { burstS, createRateLimiter } from "./rates.ts";
export type { Rate, RateLimiter, RateVerdict } from "./rates.ts";
export { connectRedis, isRedisUnavailable, untilReady } from "./redis.ts";
export type { Argument } from "./scripts.ts";
export { createTake } from "./take.ts";
export type { Take } from "./take.ts";
export { createUpkeep } from "./upkeep.ts";
export type { Place, Unended, Upkeep } from "./upkeep.ts";
export { Subscriber } from "./subscriber.ts";
