/** Schemas' complaints in our own words: one code, one message, one field. */
import { errorCode } from "@glimpse/contracts";
import type { z } from "zod";
import { ApiError } from "./api-error.ts";

type Issue = z.core.$ZodIssue;

/** The value by its schema, or an ApiError about the first thing that is wrong with it. */
export function validate<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  if (issue === undefined) throw new ApiError("invalid_request", "The request is not valid.");
  throw refusal(issue, []);
}

function refusal(issue: Issue, parents: PropertyKey[]): ApiError {
  const path = [...parents, ...issue.path];
  if (issue.code === "invalid_union") {
    // Of the alternatives, the one that got furthest is the one that was meant.
    const branches = issue.errors.flatMap((issues) => issues.slice(0, 1));
    const [meant] = branches.toSorted((a, b) => b.path.length - a.path.length);
    if (meant !== undefined && meant.path.length > 0) return refusal(meant, path);
  }
  if (issue.code === "unrecognized_keys") {
    const name = [...path, issue.keys[0] ?? ""].join(".");
    return new ApiError("unknown_field", `There is no field ${name}.`, name);
  }
  const param = path.join(".") || null;
  const message = `${param ?? "The body"} ${complaint(issue)}.`;
  const code =
    issue.code === "custom" ? errorCode.safeParse(issue.params?.["code"]).data : undefined;
  return new ApiError(code ?? "invalid_request", message, param);
}

function complaint(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is missing" : `must be of type ${issue.expected}`;
    case "too_small":
      return `must ${verb(issue.origin)} ${issue.inclusive ? "at least" : "more than"} ${issue.minimum}${unit(issue.origin)}`;
    case "too_big":
      return `must ${verb(issue.origin)} ${issue.inclusive ? "at most" : "less than"} ${issue.maximum}${unit(issue.origin)}`;
    case "invalid_value":
      return `must be one of ${issue.values.join(", ")}`;
    case "invalid_format":
      return issue.format === "datetime"
        ? "must be a time such as 2026-01-31T12:00:00Z"
        : "is not valid";
    case "custom":
      return issue.message;
    default:
      return "is not valid";
  }
}

function verb(origin: string): string {
  return origin === "string" || origin === "array" ? "have" : "be";
}

function unit(origin: string): string {
  return origin === "string" ? " characters" : origin === "array" ? " entries" : "";
}
