/** The Replicate door, as OpenAPI has it. */
import {
  modelPredictionRequest,
  prediction,
  predictionInput,
  predictionRequest,
} from "@glimpse/contracts";
import type { Group } from "./parts.ts";
import { inPath, json, problems, ref } from "./parts.ts";

const root = "/replicate/v1";
const header = (name: string, description: string) => ({
  name,
  in: "header",
  description,
  schema: { type: "string" },
});
const asking = [
  header("Prefer", "wait, or wait=5: how many seconds to wait for the answer"),
  header("Cancel-After", "Such as 90s: until when the answer is wanted"),
  header("Idempotency-Key", "The same key and body make one job, however often they are sent"),
];
const body = (id: string) => ({
  required: true,
  content: { "application/json": { schema: ref(id) } },
});
const said = (description: string) => ({
  200: { description, content: { "application/json": { schema: { type: "object" } } } },
  ...problems,
});
const one = (description: string) => ({ 200: json(description, "Prediction"), ...problems });
const made = {
  201: json("The prediction, which has ended", "Prediction"),
  202: json("The prediction", "Prediction"),
  ...problems,
};

const paths = {
  [`${root}/predictions`]: {
    get: { operationId: "listPredictions", responses: said("A page of one's predictions") },
    post: {
      operationId: "createPrediction",
      parameters: asking,
      requestBody: body("PredictionRequest"),
      responses: made,
    },
  },
  [`${root}/models/{owner}/{name}/predictions`]: {
    post: {
      operationId: "createModelPrediction",
      parameters: [inPath("owner"), inPath("name"), ...asking],
      requestBody: body("ModelPredictionRequest"),
      responses: made,
    },
  },
  [`${root}/predictions/{id}`]: {
    get: {
      operationId: "getPrediction",
      parameters: [inPath("id")],
      responses: one("The prediction"),
    },
  },
  [`${root}/predictions/{id}/cancel`]: {
    post: {
      operationId: "cancelPrediction",
      summary: "End a prediction; one that has ended stays as it is",
      parameters: [inPath("id")],
      responses: one("The prediction"),
    },
  },
  [`${root}/predictions/{id}/stream`]: {
    get: {
      operationId: "streamPrediction",
      summary: "The answer as it comes; the address in `urls.stream` needs no credentials",
      parameters: [inPath("id")],
      responses: {
        200: {
          description: "Events `output`, `error` and `done`",
          content: { "text/event-stream": { schema: { type: "string" } } },
        },
        ...problems,
      },
    },
  },
  [`${root}/models`]: {
    get: { operationId: "listReplicateModels", responses: said("The models") },
  },
  [`${root}/models/{owner}/{name}`]: {
    get: {
      operationId: "getReplicateModel",
      parameters: [inPath("owner"), inPath("name")],
      responses: said("The model"),
    },
  },
  [`${root}/files`]: {
    get: { operationId: "listPictures", responses: said("One's uploaded pictures") },
    post: {
      operationId: "uploadPicture",
      requestBody: {
        required: true,
        content: {
          "multipart/form-data": {
            schema: {
              type: "object",
              required: ["content"],
              properties: {
                content: { type: "string", contentMediaType: "application/octet-stream" },
              },
            },
          },
        },
      },
      responses: {
        201: {
          description: "The file",
          content: { "application/json": { schema: { type: "object" } } },
        },
        ...problems,
      },
    },
  },
  [`${root}/files/{id}`]: {
    get: {
      operationId: "getPicture",
      parameters: [inPath("id")],
      responses: said("About the file, without its bytes"),
    },
    delete: {
      operationId: "deletePicture",
      parameters: [inPath("id")],
      responses: { 204: { description: "It is gone" }, ...problems },
    },
  },
  [`${root}/webhooks/default/secret`]: {
    get: {
      operationId: "getDefaultWebhookSecret",
      responses: said("What predictions' webhooks are signed with"),
    },
  },
};

export const replicate: Group = {
  paths,
  sent: { Prediction: prediction },
  taken: {
    ModelPredictionRequest: modelPredictionRequest,
    PredictionInput: predictionInput,
    PredictionRequest: predictionRequest,
  },
};
