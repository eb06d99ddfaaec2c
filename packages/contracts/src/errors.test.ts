import { expect, test } from "vitest";
import { errorCode, errorCodes, problem, problemOf } from "./errors.ts";

test.each(errorCode.options)("%s makes a body for both kinds of client", (code) => {
  const body = problem.parse(problemOf(code, "What is wrong.", "images.0", "r1"));
  expect(body).toMatchObject({
    status: errorCodes[code].status,
    code,
    param: "images.0",
    request_id: "r1",
  });
  expect(body.error).toMatchObject({ message: "What is wrong.", code, param: "images.0" });
  expect(body.error.type === "server_error").toBe(body.status >= 500);
});
