import type { BreakerOptions } from '../../../lib/resilience/circuit-breaker.ts';
import { createBulkhead, inSlot } from '../../../lib/resilience/bulkhead.ts';
import { hedge } from '../../../lib/resilience/hedge.ts';
import { createRetryBudget } from '../../../lib/resilience/retry-budget.ts';
import { type Experiment, type Finding, type Lab, digits, holds, rises, within } from '../lab.ts';
import { type Result, mean } from '../metrics.ts';
import type { Budget, Scenario, StrategyMaker } from '../scenario.ts';
import type { ServerSpec } from '../server-model.ts';
import { simulate, simulateInTurns } from '../simulate.ts';
import { type Size, exponential, lognormal, poisson, zipf } from '../sizes.ts';
import type { Kernel } from '../kernel.ts';
import { byStrategy, columnOf, factor, named, requests, servers } from './balance.ts';

/** Behaviours 7 to 12 of `routing.md` §4.4. */

function blackHole(lab: Lab): Finding[] {
  const scenario = (strategy: StrategyMaker, more: Partial<Scenario> = {}): Scenario => ({
    servers: servers(10, (i) =>
      i === 0 ? { faults: [{ kind: 'fail', from: 0, to: Infinity, afterMs: 1 }] } : {},
    ),
    strategy,
    size: exponential(10),
    gaps: poisson(0.6),
    requests: requests(lab, 60_000),
    ...more,
  });
  const share = (name: string, options?: Readonly<Record<string, unknown>>): number =>
    mean(lab.seeds.slice(0, 3).map((seed) => simulate(scenario(named(lab, name, options)), seed).shares[0]!));
  const none = { penaltyMs: 0 };
  // A full scan without a penalty sends everything to whoever fails fastest.
  const scan = share('ewma-least-outstanding', none);
  const peak = share('p2c-peak-ewma', none);
  const lor = share('least-outstanding');
  const blind = share('random');
  const penalised = share('ewma-least-outstanding');
  const peakPenalised = share('p2c-peak-ewma');
  const bad = (maxEjected: number): number =>
    mean(
      lab.seeds.slice(0, 2).map((seed) => {
        const { failed, arrivals } = simulate(
          scenario(named(lab, 'random'), {
            servers: servers(10, (i) =>
              i < 4 ? { faults: [{ kind: 'fail', from: 0, to: Infinity, afterMs: 1 }] } : {},
            ),
            outlier: { maxEjected, ejectionMaxMs: 300_000 },
            gaps: poisson(0.3),
            requests: Infinity,
            untilMs: 300_000 * Math.max(0.3, lab.scale),
          }),
          seed,
        );
        return failed / arrivals;
      }),
    );
  const [cap10, cap50] = [bad(0.1), bad(0.5)];
  return [
    holds('full-scan EWMA without penalty (100 %)', '> .95', digits(scan), scan > 0.95),
    within('P2C + peak EWMA without penalty', 0.2, peak, 0.01 * lab.slack),
    holds('LOR (.137–.256)', '.12–.3', digits(lor), lor > 0.12 && lor < 0.3),
    within('random', 0.1, blind, 0.005 * lab.slack),
    holds('full-scan EWMA with penalty (0.0 %)', '< .01', digits(penalised), penalised < 0.01),
    holds('P2C + peak with penalty (.2–1.8 %)', '< .02', digits(peakPenalised), peakPenalised < 0.02),
    within('4 of 10 bad, 10 % ejected at most: errors', 0.335, cap10, 0.03),
    holds('4 of 10 bad, 50 % ejected at most (.74 %)', '< .02', digits(cap50), cap50 < 0.02),
  ];
}

function forgiven(lab: Lab): Finding[] {
  // One replica fails for a second; what is its share of the six minutes after, and of the last five of them?
  const asked = (seed: number, untilMs: number): { own: number; all: number } => {
    const { shares, arrivals } = simulate(
      {
        servers: servers(10, (i) =>
          i === 0 ? { faults: [{ kind: 'fail', from: 5_000, to: 6_000, afterMs: 1 }] } : {},
        ),
        strategy: named(lab, 'ewma-least-outstanding'),
        size: exponential(10),
        gaps: poisson(0.6),
        untilMs,
      },
      seed,
    );
    return { own: shares[0]! * arrivals, all: arrivals };
  };
  // The same seed has the same beginning, so what two runs of unequal length differ by is the time between.
  const share = (seed: number, fromMs: number): number => {
    const [long, short] = [asked(seed, 366_000), asked(seed, fromMs)];
    return (10 * (long.own - short.own)) / (long.all - short.all);
  };
  const over = (fromMs: number): number => mean(lab.seeds.slice(0, 2).map((seed) => share(seed, fromMs)));
  const whole = within(
    'failed for 1 s: share of the 6 minutes after, of the fair one',
    1.01,
    over(6_000),
    0.06,
  );
  return [
    within('failed for 1 s: share of minutes 2 to 6', 1.01, over(66_000), 0.06),
    whole.ok
      ? whole
      : {
          ...whole,
          note: 'a penalty of 5 s needs about 50 s at τ=10 s to fade to a few times the median of 10 ms',
        },
  ];
}

/** gRPC's throttle: retries only while more than half of the tokens are there. Not shipped; for comparison. */
const grpcThrottle = (): Budget => {
  let tokens = 10;
  return {
    deposit: () => {},
    withdraw: () => tokens > 5,
    settled: (ok) => {
      tokens = ok ? Math.min(10, tokens + 0.1) : Math.max(0, tokens - 1);
    },
  };
};

/** Envoy's: retries in flight up to 20 % of what is, at least 3. Not shipped; for comparison. */
const envoyConcurrency = (): Budget => {
  let active = 0;
  let retries = 0;
  return {
    deposit: () => {
      active++;
    },
    withdraw: () => {
      if (retries >= Math.max(3, 0.2 * active)) return false;
      active++;
      retries++;
      return true;
    },
    settled: (_, extra) => {
      active--;
      if (extra) retries--;
    },
  };
};

const shippedBudget =
  (ratio: number) =>
  (kernel: Kernel): Budget =>
    createRetryBudget({ clock: kernel, ratio, minPerSecond: 1, windowMs: 10_000 });

const DIP = { from: 20_000, to: 30_000 } as const;

function dip(
  lab: Lab,
  spec: ServerSpec,
  budget: ((kernel: Kernel) => Budget) | undefined,
  seed: number,
): Result {
  return simulate(
    {
      servers: servers(10, () => ({ ...spec, slow: [{ ...DIP, factor: 0.2 }] })),
      strategy: named(lab, 'least-outstanding'),
      size: exponential(10),
      gaps: poisson(0.7),
      untilMs: 140_000,
      attemptTimeoutMs: 1_000,
      deadlineMs: 4_000,
      retry: {
        retries: 3,
        baseMs: 100,
        capMs: 2_000,
        operation: 'read',
        ...(budget !== undefined && { budget }),
      },
    },
    seed,
  );
}

/** First 5-second bin after the dip in which nine of ten succeed and that stays so, in seconds after the dip; Infinity: never. */
export function backAfter(bins: readonly number[]): number {
  const from = DIP.to / 5_000;
  let back = Infinity;
  for (let bin = bins.length - 1; bin >= from && (bins[bin] ?? 0) >= 0.9; bin--) back = (bin - from) * 5;
  return back;
}

const DIPS: Readonly<
  Record<string, { readonly spec?: ServerSpec; readonly budget?: (kernel: Kernel) => Budget }>
> = {
  'no budget': {},
  '10 % budget': { budget: shippedBudget(0.1) },
  '20 % budget': { budget: shippedBudget(0.2) },
  'gRPC throttle': { budget: grpcThrottle },
  'Envoy 20 % concurrency': { budget: envoyConcurrency },
  'queue cap 50': { spec: { queueCap: 50 } },
};

/** Share answered in time, by 5-second bins of one run. */
export function dipCurves(lab: Lab, seed = lab.seeds[0]!): Record<string, readonly number[]> {
  return Object.fromEntries(
    Object.entries(DIPS).map(([name, { spec = {}, budget }]) => [name, dip(lab, spec, budget, seed).bins]),
  );
}

function metastable(lab: Lab): Finding[] {
  const runs = lab.seeds.slice(0, 3).map((seed) => dipCurves(lab, seed));
  const back = (name: string): number => mean(runs.map((curves) => backAfter(curves[name]!)));
  const atEnd = (name: string): number => mean(runs.map((curves) => curves[name]!.at(-2)!));
  const [ten, twenty, grpc] = [back('10 % budget'), back('20 % budget'), back('gRPC throttle')];
  const [cap, envoy] = [back('queue cap 50'), back('Envoy 20 % concurrency')];
  const seconds = (value: number): string => `${digits(value)} s`;
  const still = holds(
    'Envoy: still down at the end (33 % at 110 s)',
    '< .5',
    digits(atEnd('Envoy 20 % concurrency')),
    atEnd('Envoy 20 % concurrency') < 0.5,
  );
  return [
    holds(
      'no budget: success at the end (0 %)',
      '< .1',
      digits(atEnd('no budget')),
      atEnd('no budget') < 0.1,
    ),
    within('10 % budget: back after, s (20)', 20, ten, 10),
    within('20 % budget: back after, s (40)', 40, twenty, 10),
    within('gRPC throttle: back after, s (10)', 10, grpc, 10),
    rises('order', { 'queue cap': cap, gRPC: grpc, '10 %': ten, '20 %': twenty }),
    holds('queue cap 50: back', 'first bins', seconds(cap), cap <= 5),
    // Retries are a fifth of what is in flight, a quarter of the first attempts: .7 × 1.25 of the capacity. The dip leaves
    // 10 s × (.875 − .2) = 6.75 s of work, and .125 of the capacity to work it off.
    holds('Envoy 20 % concurrency: back', '≤ 54 s', seconds(envoy), envoy <= 54),
    rises('back, Envoy after the 20 % budget', { '20 %': twenty, Envoy: envoy }),
    {
      ...still,
      ...(!still.ok && {
        note: 'a fifth of what is in flight is at most .875 of the capacity at ρ=.7, so it must recover within 54 s',
      }),
    },
  ];
}

async function overload(lab: Lab): Promise<Finding[]> {
  const scenario = (spec: ServerSpec): Scenario => ({
    servers: [{ slots: 10, ...spec }],
    strategy: named(lab, 'random'),
    size: exponential(10),
    gaps: poisson(1.5),
    untilMs: 60_000 * Math.max(0.3, lab.scale),
    deadlineMs: 100,
  });
  // Of what the server can do at most (two thirds of what comes), the share that was in time.
  const goodputOf = ({ ok, endedAt, arrivals }: Result): number => ok / Math.min(arrivals, endedAt);
  const good = (spec: ServerSpec): number => goodputOf(simulate(scenario(spec), 9));
  const shipped = async (discipline: 'fifo' | 'adaptive-lifo'): Promise<number> =>
    goodputOf(
      await simulateInTurns(
        {
          ...scenario({}),
          layers: (kernel) => {
            const bulkhead = createBulkhead({
              clock: kernel,
              name: 'the server',
              max: 10,
              maxQueue: 256,
              discipline,
            });
            return [(next) => (request) => inSlot(next, request, bulkhead, kernel)];
          },
        },
        9,
      ),
    );
  const fifo = good({});
  const drop = good({ dropExpired: true });
  const cap50 = good({ queueCap: 50 });
  const cap150 = good({ queueCap: 150 });
  const lifo = good({ discipline: 'lifo', dropExpired: true });
  const bulkhead = await shipped('fifo');
  const adaptive = await shipped('adaptive-lifo');
  return [
    holds('FIFO (0 %)', '< .05', digits(fifo), fifo < 0.05),
    holds('FIFO, expired dropped (17 %)', '.03–.6', digits(drop), drop > 0.03 && drop < 0.6),
    holds('cap 50 (99.9 %)', '> .9', digits(cap50), cap50 > 0.9),
    holds('cap 150 (0 %)', '< .05', digits(cap150), cap150 < 0.05),
    holds('LIFO (100 %)', '> .9', digits(lifo), lifo > 0.9),
    // Its cap, slots × (deadline − mean) / mean, is 90: the mean wait of the last one ends at the deadline, chance is not in it.
    holds('shipped bulkhead, cap by deadline (not in the report)', '> .7', digits(bulkhead), bulkhead > 0.7),
    holds('shipped bulkhead, adaptive LIFO', '> .9', digits(adaptive), adaptive > 0.9),
  ];
}

async function hedging(lab: Lab): Promise<Finding[]> {
  const meanWork = 8 * (0.98 + 0.02 * 20);
  const scenario = (rho: number, spec: ServerSpec, size: Size, more: Partial<Scenario>): Scenario => ({
    servers: servers(20, () => spec),
    strategy: named(lab, 'least-outstanding'),
    size,
    gaps: poisson((rho * 20) / meanWork),
    requests: requests(lab, 60_000),
    ...more,
  });
  const stalls: ServerSpec = { stall: { share: 0.02, factor: 20 } };
  const ordinary = lognormal(8, 0.1);
  const intrinsic: Size = (random) => ordinary(random) * (random() < 0.02 ? 20 : 1);
  const run = (
    rho: number,
    more: Partial<Scenario> = {},
    spec = stalls,
    size: Size = lognormal(8, 0.1),
  ): Result => simulate(scenario(rho, spec, size, more), 10);
  const fixed = { hedge: { delayMs: 12 } };
  const budgeted = { hedge: { delayMs: 12, budget: shippedBudgetOf(0.05) } };
  const shipped = (rho: number, spec: ServerSpec, size: Size, maxUtilisation = 1): Promise<Result> =>
    simulateInTurns(
      scenario(rho, spec, size, {
        requests: requests(lab, 30_000),
        layers: (kernel) => {
          const policy = { quantile: 0.95, minSamples: 20, minDelayMs: 1, budgetRatio: 0.05, maxUtilisation };
          return [
            hedge({ clock: kernel, policy: () => policy, budget: () => undefined, utilisation: () => rho }),
          ];
        },
      }),
      10,
    );
  const none = [0.2, 0.4, 0.6].map((rho) => run(rho));
  const heeds: ServerSpec = { ...stalls, heedsCancel: true };
  const two = await shipped(0.2, heeds, lognormal(8, 0.1));
  const four = await shipped(0.4, heeds, lognormal(8, 0.1));
  const deaf = await shipped(0.4, stalls, lognormal(8, 0.1));
  const six = await shipped(0.6, heeds, lognormal(8, 0.1));
  // Ten servers: with twenty the collapse is a matter of luck and takes longer than a quick run.
  const ten = { servers: servers(10, () => stalls), gaps: poisson((0.6 * 10) / meanWork), requests: 60_000 };
  const collapse = run(0.6, { ...fixed, ...ten });
  const calm = run(0.6, ten);
  const limited = run(0.6, budgeted);
  const long = [run(0.4, {}, {}, intrinsic), await shipped(0.4, {}, intrinsic)] as const;
  return [
    factor('ρ=.2 p99 without : shipped hedge (8)', none[0]!.p99, two.p99, 4),
    factor('ρ=.4 p99 without : shipped hedge (8)', none[1]!.p99, four.p99, 4),
    {
      ...factor('ρ=.4 p99 without : shipped hedge, servers deaf to cancels', none[1]!.p99, deaf.p99, 4),
      note: 'a cancelled request frees its slot in the engine while the server works on; new requests queue behind it',
    },
    factor('ρ=.6 p99 without : 5 % budget (4.7)', none[2]!.p99, limited.p99, 2),
    factor('ρ=.6 p99 without : shipped hedge (4.7)', none[2]!.p99, six.p99, 2),
    factor('ρ=.6 mean, fixed delay unbudgeted : none (587)', collapse.mean, calm.mean, 5),
    factor('intrinsic sizes: p99 without : hedged (1)', long[0].p99, long[1].p99, 0.8, 1.15),
    holds('intrinsic sizes: work wasted', '> 0', digits(long[1].wasted), long[1].wasted > 0),
  ];
}

const shippedBudgetOf =
  (ratio: number) =>
  (kernel: Kernel): Budget =>
    createRetryBudget({ clock: kernel, ratio, minPerSecond: 0, windowMs: 10_000 });

const BREAKER: BreakerOptions = {
  minSamples: 5,
  failureRatio: 0.5,
  consecutive: 5,
  windowMs: 10_000,
  openMs: 5_000,
  openFactor: 2,
  openMaxMs: 60_000,
  probeTimeoutMs: 5_000,
};

async function crash(lab: Lab): Promise<Finding[]> {
  const scenario = (more: Partial<Scenario>): Scenario => ({
    servers: servers(5, (i) => (i === 0 ? { faults: [{ kind: 'crash', from: 10_000, to: 30_000 }] } : {})),
    strategy: named(lab, 'least-outstanding'),
    size: exponential(10),
    gaps: poisson(0.3),
    untilMs: 40_000,
    ...more,
  });
  const retry = (operation: 'unsafe' | 'read') => ({ retries: 2, baseMs: 100, capMs: 2_000, operation });
  const each = async (more: Partial<Scenario>): Promise<{ failed: number; attempts: number }> => {
    const results: Result[] = [];
    for (const seed of lab.seeds) results.push(await simulateInTurns(scenario(more), seed));
    return {
      failed: mean(results.map((r) => r.failed + r.rejected)),
      attempts: mean(results.map((r) => r.attemptsPerRequest)),
    };
  };
  const none = await each({});
  const breaker = await each({ breaker: BREAKER });
  const safe = await each({ retry: retry('unsafe') });
  const all = await each({ retry: retry('read') });
  const both = await each({ retry: retry('unsafe'), breaker: BREAKER });
  return [
    holds('no retry: failures (1 711)', '> 500', digits(none.failed), none.failed > 500),
    holds('breaker (20)', '≤ 25', digits(breaker.failed), breaker.failed <= 25),
    holds('safe retries: what was in flight (2.3)', '≤ 6', digits(safe.failed), safe.failed <= 6),
    holds('all retried (0, and unsafe)', '0', digits(all.failed), all.failed === 0),
    holds('safe retries + breaker (2.3)', '≤ 6', digits(both.failed), both.failed <= 6),
    rises('attempts per request (1.001 / 1.173)', { both: both.attempts, 'retries only': safe.attempts }),
    holds('attempts per request with both', '< 1.01', digits(both.attempts), both.attempts < 1.01),
  ];
}

/** Che's approximation is in the table of §1.4; these are its figures. */
const HITS = { 0.8: [0.2218, 0.5223], 1: [0.4736, 0.738], 1.2: [0.7274, 0.894] } as const;

function affinity(lab: Lab): Finding[] {
  const found: Finding[] = [];
  for (const alpha of [0.8, 1, 1.2] as const) {
    const of = byStrategy(
      lab,
      {
        rr: named(lab, 'round-robin'),
        hrw: named(lab, 'rendezvous'),
        bounded: named(lab, 'bounded-rendezvous', { epsilon: 0.25, minCap: 1 }),
        'hrw p2c': named(lab, 'rendezvous-p2c'),
        lor: named(lab, 'least-outstanding'),
      },
      (strategy) => ({
        servers: servers(8, () => ({ cache: { entries: 200, hitFactor: 0.2 } })),
        strategy: (reporter) => unkeyed(strategy(reporter)),
        size: exponential(10),
        gaps: poisson(0.75),
        keys: zipf(10_000, alpha),
        requests: Math.max(requests(lab, 150_000), 60_000),
      }),
      2,
    );
    const hit = (name: string): number => mean(of[name]!.results.map((r) => r.hitRate));
    const [spread, whole] = HITS[alpha];
    found.push(
      within(`α=${alpha} RR hit rate (Che)`, spread, hit('rr'), 0.01 * lab.slack),
      within(`α=${alpha} HRW hit rate (Che)`, whole, hit('hrw'), 0.01 * lab.slack),
      rises(`α=${alpha} hit rate`, {
        rr: hit('rr'),
        bounded: hit('bounded'),
        'hrw p2c': hit('hrw p2c'),
        hrw: hit('hrw'),
      }),
      rises(`α=${alpha} mean`, columnOf(of, 'mean', 'hrw p2c', 'lor', 'rr')),
      rises(`α=${alpha} mean`, columnOf(of, 'mean', 'hrw p2c', 'hrw')),
    );
  }
  return found;
}

/** A strategy without keys gets none, or the picker would ask `rendezvous-p2c` in its place. */
const unkeyed = (strategy: ReturnType<StrategyMaker>): ReturnType<StrategyMaker> =>
  strategy.keyed === true ? strategy : { ...strategy, keyed: true };

export const FAULTS: readonly Experiment[] = [
  { id: 'B7', what: 'black hole and ejection', run: (lab) => [...blackHole(lab), ...forgiven(lab)] },
  { id: 'B8', what: 'metastable dip', run: metastable },
  { id: 'B9', what: 'overload ρ=1.5, deadline 10 × service', run: overload },
  { id: 'B10', what: 'hedging', run: hedging },
  { id: 'B11', what: 'crash of 1 of 5 for 20 s', run: crash },
  { id: 'B12', what: 'affinity and caches', run: affinity },
];
