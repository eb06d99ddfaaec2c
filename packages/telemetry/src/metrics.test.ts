import { expect, test } from "vitest";
import { createMetrics } from "./metrics.ts";

test("counts add up, gauges are as they are when asked, and what is gone is not shown", async () => {
  const metrics = createMetrics({ ofProcess: false });
  const count = metrics.counter("refusals_total", "Refusals.", "code");
  let states = ["open", "closed"];
  metrics.gauge("state", "The state.", ["state"], () =>
    states.map((state) => ({ labels: { state }, value: 1 })),
  );
  for (const code of ["full", "late", "full"]) count(code);
  const text = await metrics.text();
  expect(text).toContain('refusals_total{code="full"} 2');
  expect(text).toContain('refusals_total{code="late"} 1');
  expect(text).toContain('state{state="open"} 1');
  states = ["closed"];
  expect(await metrics.text()).not.toContain("open");
});

test("a process shows its own numbers", async () => {
  expect(await createMetrics({ ofProcess: true }).text()).toContain("process_cpu_seconds_total");
});
