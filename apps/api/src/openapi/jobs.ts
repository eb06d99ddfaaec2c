/** Jobs, as OpenAPI has them. */
import {
  gap,
  job,
  jobError,
  jobEvent,
  jobList,
  jobQuery,
  newLinks,
  options,
  signedLinks,
  submission,
} from "@glimpse/contracts";
import type { Group } from "./parts.ts";
import { inPath, json, problems, queryOf, ref } from "./parts.ts";

const location = { Location: { schema: { type: "string" }, description: "Where the job is" } };

const id = inPath("id");
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
const listQuery = queryOf(jobQuery).map((parameter) =>
  parameter["name"] === "metadata"
    ? { ...parameter, style: "deepObject", explode: true }
    : parameter,
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
      parameters: [id, wait(0)],
      responses: {
        200: json("The job", "Job"),
        304: { description: "It is as the client knows it" },
        ...problems,
      },
    },
    put: {
      operationId: "putJob",
      summary: "Submit a job under an id of one's own; again with the same body changes nothing",
      parameters: [id],
      requestBody: body,
      responses: recorded,
    },
    delete: {
      operationId: "deleteJob",
      summary: "Remove a job that has ended, with its log; its id cannot be used again",
      parameters: [id],
      responses: { 204: { description: "It is gone" }, ...problems },
    },
  },
  "/v1/jobs/{id}/events": {
    get: {
      operationId: "followJob",
      summary: "Follow a job's events from any number on",
      parameters: [
        id,
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
      parameters: [id],
      responses: { 200: json("The job", "Job"), ...problems },
    },
  },
  "/v1/jobs/{id}/links": {
    post: {
      operationId: "linkJob",
      summary: "Make addresses of a job that work for a while without credentials",
      parameters: [id],
      requestBody: { content: { "application/json": { schema: ref("NewLinks") } } },
      responses: { 200: json("The links", "SignedLinks"), ...problems },
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
};

export const jobs: Group = {
  paths,
  sent: {
    Gap: gap,
    Job: job,
    JobError: jobError,
    JobEvent: jobEvent,
    JobList: jobList,
    SignedLinks: signedLinks,
  },
  taken: { NewLinks: newLinks, Options: options, Submission: submission },
};
