/** The API's numbers. */
import type { ErrorCode } from "@glimpse/contracts";
import { breakerState, errorCodes } from "@glimpse/contracts";
import type { Metrics } from "@glimpse/telemetry";
import type { Admission } from "./admission/admission.ts";
import type { Gates } from "./limits/gates.ts";

export type ApiMetrics = Pick<Metrics, "contentType" | "text"> & {
  /** One more request refused for now: too much of something, or something is missing. */
  countRefusal(code: ErrorCode): void;
};

export function createApiMetrics(
  metrics: Metrics,
  { admission, gates }: { admission: Admission; gates: Gates },
): ApiMetrics {
  const refusals = metrics.counter(
    "glimpse_refusals_total",
    "Requests answered 429 or 503.",
    "code",
  );
  metrics.gauge(
    "glimpse_breaker_state",
    "1 for the state that it is in.",
    ["version", "state"],
    () =>
      Object.entries(admission.states()).flatMap(([version, now]) =>
        breakerState.options.map((state) => ({
          labels: { version, state },
          value: state === now ? 1 : 0,
        })),
      ),
  );
  const held = (name: "bytes" | "streams") => [{ labels: {}, value: gates.held()[name] }];
  metrics.gauge("glimpse_bytes_in_flight", "Of bodies that are received or worked on.", [], () =>
    held("bytes"),
  );
  metrics.gauge("glimpse_event_streams", "Open streams of events.", [], () => held("streams"));

  return {
    contentType: metrics.contentType,
    text: () => metrics.text(),
    countRefusal(code) {
      if (errorCodes[code].status === 429 || errorCodes[code].status === 503) refusals(code);
    },
  };
}
