/** The OpenAI door, as OpenAPI has it: what is taken in full, what is sent by OpenAI's own names. */
import { batchRequest, chatRequest, responsesRequest } from "@glimpse/contracts";
import { inPath, problems, ref } from "./parts.ts";

const inQuery = (name: string, type: string, description: string) => ({
  name,
  in: "query",
  description,
  schema: { type },
});
const idempotencyKey = {
  name: "Idempotency-Key",
  in: "header",
  description: "The same key and body make one job, however often they are sent",
  schema: { type: "string", minLength: 1, maxLength: 255 },
};
const body = (id: string) => ({
  required: true,
  content: { "application/json": { schema: ref(id) } },
});
const sent = (description: string, isStream = false) => ({
  200: {
    description,
    content: {
      "application/json": { schema: { type: "object" } },
      ...(isStream && { "text/event-stream": { schema: { type: "string" } } }),
    },
  },
  ...problems,
});
const page = [
  inQuery("limit", "integer", "How many at most"),
  inQuery("after", "string", "The last one of the page before"),
];

const paths = {
  "/v1/chat/completions": {
    post: {
      operationId: "createChatCompletion",
      summary: "Ask, and wait for the answer; the job is canceled when its client goes",
      parameters: [idempotencyKey],
      requestBody: body("ChatCompletionRequest"),
      responses: sent("OpenAI's chat.completion, or its chunks if `stream` is true", true),
    },
  },
  "/v1/responses": {
    post: {
      operationId: "createResponse",
      summary: "Ask, in the foreground or in the background",
      parameters: [idempotencyKey],
      requestBody: body("ResponseRequest"),
      responses: sent("OpenAI's response, or its events if `stream` is true", true),
    },
  },
  "/v1/responses/{id}": {
    get: {
      operationId: "getResponse",
      summary: "Read a response, or its events from any number on",
      parameters: [
        inPath("id"),
        inQuery("stream", "boolean", "Its events"),
        inQuery("starting_after", "integer", "The last event that the client has"),
      ],
      responses: sent("OpenAI's response, or its events if `stream` is true", true),
    },
    delete: {
      operationId: "deleteResponse",
      summary: "Remove a response, with its log; one that has not ended is canceled",
      parameters: [inPath("id")],
      responses: sent("It is gone"),
    },
  },
  "/v1/responses/{id}/cancel": {
    post: {
      operationId: "cancelResponse",
      parameters: [inPath("id")],
      responses: sent("The response"),
    },
  },
  "/v1/responses/{id}/input_items": {
    get: {
      operationId: "listInputItems",
      parameters: [inPath("id"), inQuery("order", "string", "asc or desc, which is the default")],
      responses: sent("What was asked; pictures are not shown again"),
    },
  },
  "/v1/models/{id}": {
    get: {
      operationId: "getModel",
      parameters: [inPath("id")],
      responses: sent("The model"),
    },
  },
  "/v1/files": {
    get: {
      operationId: "listFiles",
      parameters: [...page, inQuery("purpose", "string", "Only those for this")],
      responses: sent("A page of files, newest first"),
    },
    post: {
      operationId: "createFile",
      summary: "Upload a file of requests, one a line",
      requestBody: {
        required: true,
        content: {
          "multipart/form-data": {
            schema: {
              type: "object",
              required: ["file", "purpose"],
              properties: {
                file: { type: "string", contentMediaType: "application/octet-stream" },
                purpose: { const: "batch" },
              },
            },
          },
        },
      },
      responses: sent("The file"),
    },
  },
  "/v1/files/{id}": {
    get: { operationId: "getFile", parameters: [inPath("id")], responses: sent("The file") },
    delete: {
      operationId: "deleteFile",
      parameters: [inPath("id")],
      responses: sent("It is gone"),
    },
  },
  "/v1/files/{id}/content": {
    get: {
      operationId: "getFileContent",
      parameters: [inPath("id")],
      responses: {
        200: {
          description: "Its bytes",
          content: { "application/jsonl": { schema: { type: "string" } } },
        },
        ...problems,
      },
    },
  },
  "/v1/batches": {
    get: {
      operationId: "listBatches",
      parameters: page,
      responses: sent("A page of batches, newest first"),
    },
    post: {
      operationId: "createBatch",
      summary: "Make a job of each line of a file",
      requestBody: body("BatchRequest"),
      responses: sent("The batch"),
    },
  },
  "/v1/batches/{id}": {
    get: { operationId: "getBatch", parameters: [inPath("id")], responses: sent("The batch") },
  },
  "/v1/batches/{id}/cancel": {
    post: {
      operationId: "cancelBatch",
      summary: "Cancel what has not ended; the answers so far are kept",
      parameters: [inPath("id")],
      responses: sent("The batch"),
    },
  },
};

export const openAi = {
  paths,
  sent: {},
  taken: {
    BatchRequest: batchRequest,
    ChatCompletionRequest: chatRequest,
    ResponseRequest: responsesRequest,
  },
};
