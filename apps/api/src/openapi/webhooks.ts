/** Webhooks, as OpenAPI has them: endpoints, deliveries, and the messages that are sent. */
import {
  delivery,
  deliveryList,
  deliveryTry,
  endpointChange,
  endpointList,
  endpointWithSecret,
  jobWebhook,
  newEndpoint,
  replayed,
  replayRange,
  secretRotation,
  shownSecret,
  webhookEndpoint,
  webhookEvent,
  webhookMessage,
} from "@glimpse/contracts";
import { inPath, json as answer, problems, ref } from "./parts.ts";

const id = inPath("id");
const inQuery = (name: string, of: object, description: string) => ({
  name,
  in: "query",
  description,
  schema: of,
});
const state = inQuery(
  "state",
  { type: "string", enum: ["pending", "delivered", "dead"] },
  "Only these; a page can then be shorter than the limit",
);
const page = [
  state,
  inQuery("limit", { type: "integer", minimum: 1, maximum: 100, default: 20 }, "How many at most"),
  inQuery("cursor", { type: "string" }, "The next_cursor of the page before"),
];
const body = (name: string, required = true) => ({
  required,
  content: { "application/json": { schema: ref(name) } },
});

const deliveries = (operationId: string, summary: string, parameters: object[]) => ({
  get: {
    operationId,
    summary,
    parameters,
    responses: { 200: answer("A page of deliveries", "WebhookDeliveryList"), ...problems },
  },
});

const paths = {
  "/v1/webhook-endpoints": {
    get: {
      operationId: "listWebhookEndpoints",
      summary: "List one's webhook endpoints",
      responses: { 200: answer("All of them", "WebhookEndpointList"), ...problems },
    },
    post: {
      operationId: "createWebhookEndpoint",
      summary: "Have all jobs' events sent to a URL",
      requestBody: body("NewWebhookEndpoint"),
      responses: {
        201: answer("With its secret, which is not shown again", "WebhookEndpointWithSecret"),
        ...problems,
      },
    },
  },
  "/v1/webhook-endpoints/{id}": {
    get: {
      operationId: "getWebhookEndpoint",
      summary: "Read a webhook endpoint",
      parameters: [id],
      responses: { 200: answer("The endpoint", "WebhookEndpoint"), ...problems },
    },
    patch: {
      operationId: "changeWebhookEndpoint",
      summary: "Change, disable or enable a webhook endpoint",
      parameters: [id],
      requestBody: body("WebhookEndpointChange"),
      responses: { 200: answer("The endpoint", "WebhookEndpoint"), ...problems },
    },
    delete: {
      operationId: "deleteWebhookEndpoint",
      summary: "Remove a webhook endpoint; what is pending for it is not sent",
      parameters: [id],
      responses: { 204: { description: "It is gone" }, ...problems },
    },
  },
  "/v1/webhook-endpoints/{id}/rotate-secret": {
    post: {
      operationId: "rotateWebhookSecret",
      summary: "Give an endpoint a new secret; for a while both sign",
      parameters: [id],
      requestBody: body("SecretRotation", false),
      responses: {
        200: answer("With its new secret", "WebhookEndpointWithSecret"),
        ...problems,
      },
    },
  },
  "/v1/webhook-endpoints/{id}/ping": {
    post: {
      operationId: "pingWebhookEndpoint",
      summary: "Send an endpoint a message of type ping",
      parameters: [id],
      responses: { 202: answer("The delivery", "WebhookDelivery"), ...problems },
    },
  },
  "/v1/webhook-endpoints/{id}/deliveries": deliveries(
    "listEndpointDeliveries",
    "What was sent to an endpoint, every try of it",
    [id, ...page],
  ),
  "/v1/webhook-endpoints/{id}/replay": {
    post: {
      operationId: "replayWebhooks",
      summary: "Send an endpoint again what it did not get in a time",
      parameters: [id],
      requestBody: body("ReplayRange"),
      responses: { 202: answer("How many", "Replayed"), ...problems },
    },
  },
  "/v1/jobs/{id}/deliveries": deliveries("listJobDeliveries", "Who was told of a job, and how", [
    id,
    ...page,
  ]),
  "/v1/webhook-deliveries": deliveries(
    "listDeliveries",
    "All of one's deliveries; with state=dead, those that were given up",
    page,
  ),
  "/v1/webhook-deliveries/{id}": {
    get: {
      operationId: "getDelivery",
      summary: "Read a delivery",
      parameters: [id],
      responses: { 200: answer("The delivery", "WebhookDelivery"), ...problems },
    },
  },
  "/v1/webhook-deliveries/{id}/replay": {
    post: {
      operationId: "replayDelivery",
      summary: "Send a settled delivery again, under the same id",
      parameters: [id],
      responses: { 202: answer("The delivery", "WebhookDelivery"), ...problems },
    },
  },
  "/v1/webhook-secret": {
    get: {
      operationId: "getWebhookSecret",
      summary: "The secret that signs for jobs whose webhook has none of its own",
      responses: { 200: answer("The secret", "WebhookSecret"), ...problems },
    },
  },
  "/v1/webhook-secret/rotate": {
    post: {
      operationId: "rotateOwnWebhookSecret",
      summary: "Have another one; for a while both sign",
      requestBody: body("SecretRotation", false),
      responses: { 200: answer("The new secret", "WebhookSecret"), ...problems },
    },
  },
};

/** What is sent to receivers, by the event's name. */
const messages = Object.fromEntries(
  webhookEvent.options.map((event) => [
    event,
    {
      post: {
        summary: "Signed as Standard Webhooks has it; any 2xx within the time limit is success",
        requestBody: body("WebhookMessage"),
        responses: { "2XX": { description: "Received" }, 410: { description: "Never again" } },
      },
    },
  ]),
);

export const webhooks = {
  paths,
  messages,
  sent: {
    DeliveryTry: deliveryTry,
    Replayed: replayed,
    WebhookDelivery: delivery,
    WebhookDeliveryList: deliveryList,
    WebhookEndpoint: webhookEndpoint,
    WebhookEndpointList: endpointList,
    WebhookEndpointWithSecret: endpointWithSecret,
    WebhookMessage: webhookMessage,
    WebhookSecret: shownSecret,
  },
  taken: {
    JobWebhook: jobWebhook,
    NewWebhookEndpoint: newEndpoint,
    ReplayRange: replayRange,
    SecretRotation: secretRotation,
    WebhookEndpointChange: endpointChange,
  },
};
