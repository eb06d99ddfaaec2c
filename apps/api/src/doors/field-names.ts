/** What a field of our own submission is called in the request that it was made of. Knows no HTTP and no job. */

export type FieldNames = (field: string) => string;

/**
 * `messages`: what all of them are called together, and `each` what each was made of: `input.3`, or a field that is nothing but
 * text. Pictures are `image` there. Names that are the request's own already stay as they are.
 */
export function fieldNames(messages: string, each: string[], image: string): FieldNames {
  return (field) => {
    const [, index, rest] = /^messages(?:\.(\d+)(.*))?$/.exec(field) ?? [];
    if (index === undefined) return field === "messages" ? messages : field;
    const name = each[Number(index)] ?? messages;
    return name.includes(".") ? name + (rest ?? "").replace(/\.image_url\.url$/, image) : name;
  };
}
