/** Why something outside was not fetched. The words are ours: a client may read them. */
export type OutboundReason =
  | "not_allowed"
  | "unreachable"
  | "late"
  | "too_large"
  | "too_many_redirects"
  | "tls"
  | "bad_answer";

const words: Record<OutboundReason, string> = {
  not_allowed: "the address may not be used",
  unreachable: "the host could not be reached",
  late: "the host did not answer in time",
  too_large: "the answer is too large",
  too_many_redirects: "the address redirects too often",
  tls: "no secure connection could be made",
  bad_answer: "the host's answer is not valid HTTP",
};

/** `message` says no more than the reason, so that nobody learns from it what is inside. */
export class OutboundError extends Error {
  override name = "OutboundError";
  readonly reason: OutboundReason;
  constructor(reason: OutboundReason, message = words[reason], options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
