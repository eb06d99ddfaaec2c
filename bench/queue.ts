/**
 * The whole path, HTTP to answer, with an engine that takes no time, against BullMQ as it comes, with and without a way back
 * for the answer, and against plain Redis: one run, one Redis, taking turns. Then how soon free slots are filled over a slow
 * network, and how many workers one queue feeds.
 * The last line of --json is for machines.
 * Usage: pnpm bench queue [--quick] [--json]
 */
import { availableParallelism, cpus } from "node:os";
import { parseArgs } from "node:util";
import { startRedisServer } from "@glimpse/test/redis-server";
import { Redis } from "ioredis";
import { round } from "./engine/measure.ts";
import { measureFill } from "./queue/fill.ts";
import { measureFleet } from "./queue/fleet.ts";
import { measureAtRate, measureIdle } from "./queue/latency.ts";
import { startAnsweringBullmq, startBareRedis, startBullmq } from "./queue/systems.ts";
import { measureThroughput } from "./queue/throughput.ts";
import { startWhole } from "./queue/whole.ts";

const { values: args } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const { rounds, rateS, sizes, fleetS } = args.quick
  ? { rounds: 3, rateS: 2, sizes: [1, 8, 64], fleetS: 2 }
  : { rounds: 5, rateS: 5, sizes: [1, 2, 4, 8, 16, 32, 64], fleetS: 3 };

const server = await startRedisServer();
const redis = new Redis(server.url);
try {
  await measure();
} finally {
  redis.disconnect();
  await server.stop();
}

async function measure(): Promise<void> {
  const cpu = cpus()[0]?.model ?? "unknown CPU";
  console.log(`${cpu}, ${availableParallelism()} cores, Node ${process.version}`);
  const [whole, bullmq, answering, bare] = await Promise.all([
    startWhole(server.url),
    startBullmq(server.url),
    startAnsweringBullmq(server.url),
    startBareRedis(server.url),
  ]);

  const throughput = await measureThroughput(
    {
      "whole path": { system: whole, jobs: 2_000 },
      "bare BullMQ": { system: bullmq, jobs: 10_000 },
      "bare BullMQ, answers returned": { system: answering, jobs: 5_000 },
      "bare Redis": { system: bare, jobs: 20_000 },
    },
    redis,
    rounds,
  );
  console.log(
    "\n128 jobs in flight, 64 slots; one producer, Redis and one worker, the whole path with an API more",
  );
  console.table(throughput);

  await answering.stop();
  await bullmq.listen();
  const rates: Record<string, object> = {};
  for (const perS of [50, 200]) {
    for (const [name, { ask }] of Object.entries({ whole, bullmq, bare })) {
      rates[`${name}, ${perS} jobs/s`] = await measureAtRate(ask, perS, rateS);
    }
  }
  const firstEvent = await measureIdle(whole.firstPiece, args.quick ? 50 : 200);
  console.log("\nMilliseconds from a job to its answer");
  console.table({ ...rates, "whole, one at a time, to the first piece": firstEvent });
  await Promise.all([bullmq.stop(), bare.stop()]);

  const fill = await measureFill(whole, server.url, rounds);
  console.log("\nMilliseconds until 64 free slots run 64 jobs, Redis a slow network away");
  console.table(fill);

  const fleet = await measureFleet(whole, redis, sizes, fleetS);
  const scales = fleet.findLast(({ efficiency }) => efficiency >= 0.9)?.workers ?? 0;
  console.log("\nWorkers of 8 slots, 200 ms a job");
  console.table(fleet);
  console.log(`Up to ${scales} workers are kept busy (0.9 of what they could do)`);
  if (whole.refused() > 0) console.log(`Refused for now and sent again: ${whole.refused()} jobs`);
  await whole.stop();

  const perS = (name: keyof typeof throughput) => throughput[name].jobsPerS;
  const cpuUs = (name: keyof typeof throughput) => throughput[name].cpuUsPerJob;
  const figures = {
    vs_bullmq: round(perS("whole path") / perS("bare BullMQ")),
    vs_bullmq_answering: round(perS("whole path") / perS("bare BullMQ, answers returned")),
    vs_bullmq_per_cpu: round(cpuUs("bare BullMQ") / cpuUs("whole path")),
    vs_redis: round(perS("whole path") / perS("bare Redis"), 3),
    first_event_p50_ms: firstEvent.p50,
    fill64_ms: fill.wholeMs,
    fleet_scales_to: scales,
    jobs_per_s: perS("whole path"),
  };
  if (args.json) console.log(JSON.stringify(figures));
}
