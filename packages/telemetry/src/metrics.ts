/** Numbers of a process in Prometheus's text format. Names and labels are fixed where they are made: nothing that a client sends becomes one. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";

export type Metrics = ReturnType<typeof createMetrics>;

export type Sample = { labels: Record<string, string>; value: number };

/** `ofProcess`: with memory, CPU, event loop and garbage collection; once a process. */
export function createMetrics({ ofProcess }: { ofProcess: boolean }) {
  const registry = new Registry();
  if (ofProcess) collectDefaultMetrics({ register: registry });

  return {
    contentType: registry.contentType,

    /** All metrics as they are now. */
    text: (): Promise<string> => registry.metrics(),

    /** Returns what counts one more with this label's value. */
    counter(name: string, help: string, label: string): (value: string) => void {
      const counter = new Counter({ name, help, labelNames: [label], registers: [registry] });
      return (value) => counter.inc({ [label]: value });
    },

    /** `read` is asked for its samples whenever the metrics are. */
    gauge(name: string, help: string, labelNames: string[], read: () => Sample[]): void {
      // prom-client registers it by itself.
      const gauge = new Gauge({ name, help, labelNames, registers: [registry], collect });
      function collect() {
        gauge.reset();
        for (const { labels, value } of read()) gauge.set(labels, value);
      }
    },
  };
}
