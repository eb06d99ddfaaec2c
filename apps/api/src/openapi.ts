/** The OpenAPI document, from the contracts' schemas. */
import {
  gap,
  health,
  job,
  jobError,
  jobEvent,
  jobList,
  jobQuery,
  models,
  options,
  problem,
  readiness,
  submission,
} from "@glimpse/contracts";
import { z } from "zod";
import { openAi } from "./openapi/openai.ts";
import { webhooks } from "./openapi/webhooks.ts";

/** What the API sends, and what it takes; schemas that others refer to are among them, so that each has a name of its own. */
const sent = {
  Gap: gap,
  Health: health,
  Job: job,
  JobError: jobError,
  JobEvent: jobEvent,
  JobList: jobList,
  Models: models,
  Problem: problem,
  Readiness: readiness,
  ...webhooks.sent,
};
const taken = {
  ...openAi.taken,
  Options: options,
  Submission: submission,
  ...webhooks.taken,
};

const uri = (id: string) => `#/components/schemas/${id}`;
const ref = (id: string) => ({ $ref: uri(id) });
const json = (description: string, id: string) => ({
  description,
  content: { "application/json": { schema: ref(id) } },
});
const problems = {
  default: {
    description: "A refusal",
    content: { "application/problem+json": { schema: ref("Problem") } },
  },
};
const location = { Location: { schema: { type: "string" }, description: "Where the job is" } };

const jobId = { name: "id", in: "path", required: true, schema: { type: "string" } };
const wait = (fallback: number) => ({
  name: "wait",
  in: "query",
  description: "Seconds to hold the answer until the job has ended",
  schema: { type: "number", minimum: 0, maximum: 60, default: fallback },
});
const idempotencyKey = {
  name: "Idempotency-Key",
  in: "header",
  description:
    "Chosen by the client, bare or in double quotes: the same key and body give the same job for as long as it is kept",
  schema: { type: "string", minLength: 1, maxLength: 255 },
};
const listQuery = Object.entries(z.toJSONSchema(jobQuery).properties ?? {}).map(
  ([name, schema]) => ({
    name,
    in: "query",
    schema,
    ...(name === "metadata" && { style: "deepObject", explode: true }),
  }),
);
const recorded = {
  202: {
    ...json("The job is recorded; it will be run, or has an identical job's answer", "Job"),
    headers: {
      ...location,
      "Idempotent-Replayed": {
        schema: { const: "true" },
        description: "Sent when the same request had made the job before",
      },
    },
  },
  ...problems,
};
const body = {
  required: true,
  content: {
    "application/json": { schema: ref("Submission") },
    "multipart/form-data": {
      schema: {
        type: "object",
        required: ["prompt"],
        properties: {
          prompt: { type: "string" },
          image: {
            type: "array",
            items: { type: "string", contentMediaType: "application/octet-stream" },
          },
          model: { type: "string" },
          options: { type: "string", description: "JSON, as in Submission" },
          priority: { type: "string", enum: ["low", "normal", "high"] },
          deadline_ms: { type: "integer" },
          metadata: { type: "string", description: "JSON, as in Submission" },
          webhook: { type: "string", description: "JSON, as in Submission" },
        },
      },
    },
  },
};

const paths = {
  "/v1/jobs": {
    get: {
      operationId: "listJobs",
      summary: "List one's jobs, newest first",
      parameters: listQuery,
      responses: { 200: json("A page of jobs", "JobList"), ...problems },
    },
    post: {
      operationId: "submitJob",
      summary: "Submit a job",
      parameters: [idempotencyKey],
      requestBody: body,
      responses: recorded,
    },
  },
  "/v1/jobs/{id}": {
    get: {
      operationId: "getJob",
      summary: "Read a job, or wait for its end",
      parameters: [jobId, wait(0)],
      responses: {
        200: json("The job", "Job"),
        304: { description: "It is as the client knows it" },
        ...problems,
      },
    },
    put: {
      operationId: "putJob",
      summary: "Submit a job under an id of one's own; again with the same body changes nothing",
      parameters: [jobId],
      requestBody: body,
      responses: recorded,
    },
    delete: {
      operationId: "deleteJob",
      summary: "Remove a job that has ended, with its log; its id cannot be used again",
      parameters: [jobId],
      responses: { 204: { description: "It is gone" }, ...problems },
    },
  },
  "/v1/jobs/{id}/events": {
    get: {
      operationId: "followJob",
      summary: "Follow a job's events from any number on",
      parameters: [
        jobId,
        {
          name: "after",
          in: "query",
          description: "The last event the client has",
          schema: { type: "integer", minimum: -1 },
        },
        {
          name: "Last-Event-ID",
          in: "header",
          description: "The same, as browsers send it",
          schema: { type: "integer" },
        },
      ],
      responses: {
        200: {
          description: "Server-sent events; each one's data is a JobEvent, or a Gap",
          content: { "text/event-stream": { schema: { oneOf: [ref("JobEvent"), ref("Gap")] } } },
        },
        204: { description: "The job has ended and the client has everything" },
        ...problems,
      },
    },
  },
  "/v1/jobs/{id}/cancel": {
    post: {
      operationId: "cancelJob",
      summary: "Cancel a job; one that has ended stays as it is",
      parameters: [jobId],
      responses: { 200: json("The job", "Job"), ...problems },
    },
  },
  "/v1/infer": {
    post: {
      operationId: "infer",
      summary: "Submit a job and wait for its answer",
      parameters: [wait(30), idempotencyKey],
      requestBody: body,
      responses: {
        200: json("The job has ended, in whatever state", "Job"),
        202: { ...json("The wait ran out; the job goes on", "Job"), headers: location },
        ...problems,
      },
    },
  },
  "/v1/models": {
    get: {
      operationId: "listModels",
      responses: { 200: json("The models", "Models"), ...problems },
    },
  },
  "/healthz": {
    get: { operationId: "health", responses: { 200: json("The process is alive", "Health") } },
  },
  "/ready": {
    get: {
      operationId: "readiness",
      responses: {
        200: json("A job submitted now will be run", "Readiness"),
        503: json("Something is missing", "Readiness"),
      },
    },
  },
};

/** JSON Schemas by name, without the members that only a document of its own needs. */
function componentsOf(schemas: Record<string, z.ZodType>, io: "input" | "output") {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id });
  const components = z.toJSONSchema(registry, { uri, io }).schemas;
  for (const component of Object.values(components)) {
    delete component.$schema;
    delete component.$id;
  }
  return components;
}

/** The document, built once. */
export const openApiDocument = {
  openapi: "3.1.0",
  info: {
    title: "Glimpse",
    version: "1",
    description: "Questions about pictures, answered through a queue.",
  },
  paths: { ...paths, ...webhooks.paths, ...openAi.paths },
  webhooks: webhooks.messages,
  components: { schemas: { ...componentsOf(sent, "output"), ...componentsOf(taken, "input") } },
};
