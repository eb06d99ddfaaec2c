/** The service about itself, as OpenAPI has it. */
import { health, models, problem, readiness } from "@glimpse/contracts";
import type { Group } from "./parts.ts";
import { json, problems } from "./parts.ts";

const paths = {
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
  "/metrics": {
    get: {
      operationId: "metrics",
      responses: {
        200: { description: "For Prometheus", content: { "text/plain": {} } },
        ...problems,
      },
    },
  },
  "/openapi.json": {
    get: {
      operationId: "describe",
      responses: {
        200: { description: "This document", content: { "application/json": {} } },
      },
    },
  },
};

export const service: Group = {
  paths,
  sent: { Health: health, Models: models, Problem: problem, Readiness: readiness },
  taken: {},
};
