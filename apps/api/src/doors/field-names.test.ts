import { expect, test } from "vitest";
import { fieldNames } from "./field-names.ts";

const namesOf = fieldNames("input", ["instructions", "input.2", "input"], ".image_url");

test.each([
  ["messages", "input"],
  ["messages.0.content", "instructions"],
  ["messages.1", "input.2"],
  ["messages.1.content.3.image_url.url", "input.2.content.3.image_url"],
  ["messages.1.content.3.text", "input.2.content.3.text"],
  ["messages.2.content", "input"],
  ["messages.3.content", "input"],
  ["options.max_tokens", "options.max_tokens"],
  ["input.2.content.3.image_url", "input.2.content.3.image_url"],
])("%s is called %s", (field, name) => {
  expect(namesOf(field)).toBe(name);
});
