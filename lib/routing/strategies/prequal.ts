import { TroupeError } from '../../core/errors.ts';
import { isFailure } from '../../core/outcome.ts';
import { remaining } from '../ewma.ts';
import type { PickCtx, RoutingStrategy } from '../strategy.ts';
import { invalid, optionsOf, readNumbers } from '../strategy-options.ts';

/** What a replica says about itself. */
export interface LoadReport {
  /** Requests in flight at the replica, of all its clients. */
  readonly inFlight: number;
  /** Its estimate for a request that came now, milliseconds. */
  readonly latencyMs: number;
  /** When it was so, on the clock of `PickCtx.now`. */
  readonly at: number;
}

/** Asks a replica for its load. Must not block or throw; `report` may be called later, or never. */
export interface LoadReporter {
  probe(id: string, report: (load: LoadReport) => void): void;
}

interface Probe {
  readonly index: number;
  inFlight: number;
  readonly latencyMs: number;
  readonly at: number;
  usesLeft: number;
}

export interface PrequalState {
  readonly ids: readonly string[];
  /** Oldest first, at most one of each replica. */
  probes: Probe[];
  /** In-flight numbers reported lately, a ring. */
  readonly recent: number[];
  next: number;
  /** When a replica failed last; −∞ if never. */
  readonly failedAt: Float64Array;
  removeWorst: boolean;
}

/** Reports the quantile of "hot" is taken over. */
const RECENT = 128;
/**
 * The reuse formula goes to infinity on the way to small pools (n → m / (1 − removed / probes), 24 with the defaults); this is
 * its value at n = 3 m. The more a report is used, the more clients herd on what was once cold: in the laboratory 20 clients
 * of 20 replicas with antagonists had a p99 of 224 ms at one use, 279 at two, 376 at three and 1 713 at eight.
 */
const MAX_REUSE = 2;

/**
 * Prequal (Wydrowski et al., NSDI '24), experimental: picks by what replicas report about themselves. Replicas below the
 * `hotQuantile` of reported in-flight numbers are cold; the cold one of lowest latency wins, or the least loaded when all
 * are hot. Needs `loadReporter`; MCP servers of others do not give one, and `ping` tells liveness, not load. With one
 * engine `ewma-least-outstanding` does as well without probes.
 *
 * Options: `probes` 3 per pick, `pool` 16 reports kept, `maxAgeMs` 1 000, `hotQuantile` 0.6 (the paper's 0.84 herded here
 * and in prequal-rs), `delta` 1, `penaltyMs` 5 000 and `tauMs` 10 000 for error aversion.
 */
export function prequal(options?: unknown): RoutingStrategy<PrequalState> {
  const o = readNumbers(
    'prequal',
    options,
    {
      probes: { value: 3, min: 1, max: 32, whole: true },
      pool: { value: 16, min: 2, max: 1_024, whole: true },
      maxAgeMs: { value: 1_000, min: 1, max: 600_000 },
      hotQuantile: { value: 0.6, min: 0, max: 1 },
      delta: { value: 1, min: 0, max: 100 },
      penaltyMs: { value: 5_000, min: 0, max: 600_000 },
      tauMs: { value: 10_000, min: 1, max: 3_600_000 },
    },
    ['loadReporter'],
  );
  const reporter = reporterOf(options);

  const add = (s: PrequalState, index: number, load: LoadReport, uses: number): void => {
    const { inFlight, latencyMs, at } = load;
    if (!(inFlight >= 0) || !(latencyMs >= 0) || !Number.isFinite(at)) return;
    // A replica that failed lately looks slow, however fast it fails.
    const averse = o.penaltyMs * remaining(at - s.failedAt[index]!, o.tauMs);
    // Of a replica only the latest is kept: an older one may call cold what has filled up since.
    s.probes = s.probes.filter((probe) => probe.index !== index);
    s.probes.push({ index, inFlight, latencyMs: latencyMs + averse, at, usesLeft: uses });
    if (s.probes.length > o.pool) s.probes.shift();
    s.recent[s.next] = inFlight;
    s.next = (s.next + 1) % RECENT;
  };

  return {
    name: 'prequal',
    init: (n, ids) => fresh(n, ids),
    pick(s, ctx) {
      sendProbes(s, ctx, o, reporter, add);
      s.probes = s.probes.filter((probe) => probe.at >= ctx.now - o.maxAgeMs);
      const hot = quantile(s.recent, o.hotQuantile);
      const chosen = bestProbe(s, ctx, hot);
      if (chosen === undefined) return ctx.candidates[Math.floor(ctx.rng() * ctx.candidates.length)]!;
      // The paper's compensation: our own request will be in flight there too.
      chosen.inFlight++;
      if (--chosen.usesLeft === 0) s.probes.splice(s.probes.indexOf(chosen), 1);
      removeOne(s, hot);
      return chosen.index;
    },
    observe(s, { index, outcome, now }) {
      if (!isFailure(outcome)) return;
      s.failedAt[index] = now;
      s.probes = s.probes.filter((probe) => probe.index !== index);
    },
    resize(s, remap, ids) {
      const next = fresh(ids.length, ids);
      const moved = new Map<number, number>();
      for (let i = 0; i < remap.length; i++) if (remap[i]! >= 0) moved.set(remap[i]!, i);
      for (const [old, i] of moved) next.failedAt[i] = s.failedAt[old]!;
      for (const probe of s.probes) {
        const index = moved.get(probe.index);
        if (index !== undefined) next.probes.push({ ...probe, index });
      }
      next.recent.push(...s.recent);
      next.next = s.next;
      return next;
    },
  };
}

function reporterOf(options: unknown): LoadReporter {
  const reporter = optionsOf('prequal', options)['loadReporter'] as Partial<LoadReporter> | undefined;
  if (reporter === undefined || reporter === null) {
    throw new TroupeError(
      'config_invalid',
      'routing: strategy "prequal" needs the option loadReporter, because MCP has no way to ask a server for its load; without one use "ewma-least-outstanding"',
      { data: { field: 'routing.loadReporter', strategy: 'prequal' } },
    );
  }
  if (typeof reporter.probe !== 'function')
    throw invalid('prequal', 'loadReporter', 'expected { probe(id, report) }');
  return reporter as LoadReporter;
}

function fresh(n: number, ids: readonly string[]): PrequalState {
  const failedAt = new Float64Array(n).fill(-Infinity);
  return { ids, probes: [], recent: [], next: 0, failedAt, removeWorst: false };
}

interface Probing {
  readonly probes: number;
  readonly pool: number;
  readonly delta: number;
}

/** Draws without replacement. */
function sendProbes(
  s: PrequalState,
  { candidates, rng }: PickCtx,
  o: Probing,
  reporter: LoadReporter,
  add: (s: PrequalState, index: number, load: LoadReport, uses: number) => void,
): void {
  const n = candidates.length;
  const limit = reuseLimit(n, o);
  // A partial shuffle: also the order of the reports must favour nobody.
  const order = [...candidates];
  for (let k = 0; k < Math.min(o.probes, n); k++) {
    const at = k + Math.floor(rng() * (n - k));
    const index = order[at]!;
    order[at] = order[k]!;
    // Rounded at random for each report, so that the limit holds on average.
    const whole = Math.floor(limit);
    const uses = rng() < limit - whole ? whole + 1 : whole;
    reporter.probe(s.ids[index]!, (load) => add(s, index, load, uses));
  }
}

/**
 * b = max(1, (1 + δ) / ((1 − m/n)·r_probe − r_remove)): how often a report may be used so that the pool stays full. Where
 * that has no solution the pool cannot be full; with reports used once it still holds a third of the replicas, and fresh ones.
 */
function reuseLimit(n: number, { probes, pool, delta }: Probing): number {
  const spare = (1 - pool / n) * probes - 1;
  return spare <= 0 ? 1 : Math.min(MAX_REUSE, Math.max(1, (1 + delta) / spare));
}

function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Infinity;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}

/** Hot-cold lexicographic rule. Fewer than two reports tell too little: the pick is then left to chance. */
function bestProbe(s: PrequalState, { candidates, rng }: PickCtx, hot: number): Probe | undefined {
  let known = 0;
  let best: Probe | undefined;
  let ties = 0;
  for (const probe of s.probes) {
    if (!candidates.includes(probe.index)) continue;
    known++;
    if (best === undefined || isWorse(best, probe, hot)) {
      best = probe;
      ties = 1;
    } else if (!isWorse(probe, best, hot) && rng() * ++ties < 1) {
      best = probe;
    }
  }
  return known < 2 ? undefined : best;
}

/** Each pick removes one report, the oldest and the worst in turn. */
function removeOne(s: PrequalState, hot: number): void {
  s.removeWorst = !s.removeWorst;
  if (!s.removeWorst || s.probes.length === 0) {
    s.probes.shift();
    return;
  }
  let worst = 0;
  for (let k = 1; k < s.probes.length; k++) if (isWorse(s.probes[k]!, s.probes[worst]!, hot)) worst = k;
  s.probes.splice(worst, 1);
}

function isWorse(a: Probe, b: Probe, hot: number): boolean {
  const aHot = a.inFlight > hot;
  const bHot = b.inFlight > hot;
  if (aHot !== bHot) return aHot;
  return aHot ? a.inFlight > b.inFlight : a.latencyMs > b.latencyMs;
}
