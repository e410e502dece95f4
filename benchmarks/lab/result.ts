import type { Kernel } from './kernel.ts';
import { ENDED, type Record, type Result, mean, quantile } from './metrics.ts';
import type { Scenario } from './scenario.ts';
import type { ServerModel } from './server-model.ts';

const BIN_MS = 5_000;

/** What a run has left behind. */
interface Facts {
  readonly kernel: Kernel;
  readonly scenario: Scenario;
  readonly record: Record;
  readonly servers: readonly ServerModel[];
  /** Attempts by server. */
  readonly sent: Float64Array;
  readonly wastedMs: number;
}

export function resultOf({ kernel, scenario, record, servers, sent, wastedMs }: Facts): Result {
  const { arrivals } = record;
  const first = Math.floor(arrivals * (scenario.warmUp ?? 0.1));
  const counts = [0, 0, 0, 0, 0];
  const bins: { ok: number; all: number }[] = [];
  const latencies = new Float64Array(arrivals);
  const waits = new Float64Array(arrivals);
  let kept = 0;
  let timeInSystem = 0;
  let waited = 0;
  for (let id = 0; id < arrivals; id++) {
    const status = record.status[id]!;
    counts[status] = counts[status]! + 1;
    if (status !== ENDED.live && id >= first) timeInSystem += record.latency[id]!;
    const bin = (bins[Math.floor(record.arrivedAt[id]! / BIN_MS)] ??= { ok: 0, all: 0 });
    bin.all++;
    if (status === ENDED.ok) bin.ok++;
    if (id < first || (status !== ENDED.ok && status !== ENDED.late)) continue;
    latencies[kept] = record.latency[id]!;
    waits[kept] = record.wait[id]!;
    if (record.wait[id]! > 1e-12) waited++;
    kept++;
  }
  const quarter = Math.floor(kept / 4);
  const drift = mean(latencies.subarray(kept - quarter, kept)) / mean(latencies.subarray(0, quarter));
  const sorted = latencies.slice(0, kept).sort();
  const sortedWaits = waits.slice(0, kept).sort();
  const endedAt = kernel.now();
  const ended = arrivals - counts[ENDED.live]!;
  // From the first request after the warm-up to the last one: the empty ends of a run would make it an identity.
  const inSystem = record.areaAt[arrivals - 1]! - record.areaAt[first]!;
  const byLittle = timeInSystem;
  const busy = servers.map(({ busyMs }) => busyMs);
  const work = busy.reduce((sum, ms) => sum + ms, 0);
  const lookups = servers.reduce((sum, s) => sum + s.lookups, 0);
  const attempts = sent.reduce((sum, n) => sum + n, 0);
  return {
    mean: mean(sorted),
    p50: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    p99: quantile(sorted, 0.99),
    p999: quantile(sorted, 0.999),
    meanWait: mean(sortedWaits),
    p99Wait: quantile(sortedWaits, 0.99),
    waited: waited / kept,
    latencies: sorted,
    arrivals,
    ok: counts[ENDED.ok]!,
    late: counts[ENDED.late]!,
    failed: counts[ENDED.failed]!,
    rejected: counts[ENDED.rejected]!,
    live: counts[ENDED.live]!,
    goodput: counts[ENDED.ok]! / ended,
    attemptsPerRequest: record.attempts / arrivals,
    wasted: work === 0 ? 0 : wastedMs / work,
    hitRate: lookups === 0 ? NaN : servers.reduce((sum, s) => sum + s.hits, 0) / lookups,
    imbalance: Math.max(...busy) / mean(busy),
    busyMs: work,
    maxQueue: Math.max(...servers.map(({ maxQueue }) => maxQueue)),
    lostInCrash: servers.reduce((sum, s) => sum + s.lostInCrash, 0),
    drift,
    shares: Array.from(sent, (n) => n / attempts),
    littleError: Math.abs(inSystem - byLittle) / byLittle,
    balanced: record.inSystem === counts[ENDED.live],
    bins: Array.from(bins, (bin) => (bin === undefined ? NaN : bin.ok / bin.all)),
    endedAt,
    logHash: kernel.logHash,
    logged: kernel.logged,
  };
}
