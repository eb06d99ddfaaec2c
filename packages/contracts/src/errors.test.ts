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

/** docs/errors.md, from the table. */
function errorsPage(): string {
  const rows = Object.entries(errorCodes).map(
    ([code, { status, retryable, title }]) =>
      `| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${title} |`,
  );
  return `# Errors

<!-- Written from packages/contracts/src/errors.ts: \`vitest run packages/contracts/src/errors.test.ts -u\` -->

Every refusal, whatever refuses, has one JSON body (\`application/problem+json\`):

- \`type\`, \`title\`, \`status\`, \`detail\` as in RFC 9457, with \`code\` (below), \`param\` (the field that is wrong, as a dotted path, or null), \`retryable\` and \`request_id\`;
- \`error\` with \`message\`, \`type\`, \`code\` and \`param\`, as OpenAI's clients read it.

Rely on \`code\`; the words may change. \`x-request-id\` names the request in our logs; one of your own (letters, digits, \`-\`, \`_\`, \`=\`) is taken over. 429 and 503 say when to come back in \`Retry-After\`, and \`x-should-retry\` says whether to come back at all.
A job that was accepted and then failed has the same codes in its own \`error\`, and is itself read with 200.

| code | status | try again | |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

test("docs/errors.md is what the table says", async () => {
  await expect(errorsPage()).toMatchFileSnapshot("../../../docs/errors.md");
});
