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
  uses: number;
}

export interface PrequalState {
  readonly ids: readonly string[];
  /** Oldest first. */
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
 * The reuse formula has no solution for small pools (n ≤ m / (1 − removed / probes), 24 with the defaults); a probe is
 * then used this often at most, or its age ends it first.
 */
const MAX_REUSE = 8;

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

  const add = (s: PrequalState, index: number, load: LoadReport): void => {
    const { inFlight, latencyMs, at } = load;
    if (!(inFlight >= 0) || !(latencyMs >= 0) || !Number.isFinite(at)) return;
    // A replica that failed lately looks slow, however fast it fails.
    const averse = o.penaltyMs * remaining(at - s.failedAt[index]!, o.tauMs);
    s.probes.push({ index, inFlight, latencyMs: latencyMs + averse, at, uses: 0 });
    if (s.probes.length > o.pool) s.probes.shift();
    s.recent[s.next] = inFlight;
    s.next = (s.next + 1) % RECENT;
  };

  return {
    name: 'prequal',
    init: (n, ids) => fresh(n, ids),
    pick(s, ctx) {
      sendProbes(s, ctx, Math.min(o.probes, ctx.candidates.length), reporter, add);
      dropOld(s, ctx.now - o.maxAgeMs, reuseLimit(ctx, o));
      const hot = quantile(s.recent, o.hotQuantile);
      const chosen = bestProbe(s, ctx, hot);
      if (chosen === undefined) return ctx.candidates[Math.floor(ctx.rng() * ctx.candidates.length)]!;
      // The paper's compensation: our own request will be in flight there too.
      chosen.inFlight++;
      chosen.uses++;
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

/** Draws without replacement. */
function sendProbes(
  s: PrequalState,
  { candidates, rng }: PickCtx,
  count: number,
  reporter: LoadReporter,
  add: (s: PrequalState, index: number, load: LoadReport) => void,
): void {
  // A partial shuffle: also the order of the reports must favour nobody.
  const order = [...candidates];
  for (let k = 0; k < count; k++) {
    const at = k + Math.floor(rng() * (order.length - k));
    const index = order[at]!;
    order[at] = order[k]!;
    reporter.probe(s.ids[index]!, (load) => add(s, index, load));
  }
}

function dropOld(s: PrequalState, oldest: number, reuse: number): void {
  s.probes = s.probes.filter((probe) => probe.at >= oldest && probe.uses < reuse);
}

/** b = max(1, (1 + δ) / ((1 − m/n)·r_probe − r_remove)), rounded at random so that it holds on average. */
function reuseLimit(
  { candidates, rng }: PickCtx,
  { probes, pool, delta }: { readonly probes: number; readonly pool: number; readonly delta: number },
): number {
  const spare = (1 - pool / candidates.length) * probes - 1;
  const b = spare <= 0 ? MAX_REUSE : Math.min(MAX_REUSE, Math.max(1, (1 + delta) / spare));
  const whole = Math.floor(b);
  return rng() < b - whole ? whole + 1 : whole;
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
