import type { BreakerOptions } from '../../../lib/resilience/circuit-breaker.ts';
import { createBulkhead, inSlot } from '../../../lib/resilience/bulkhead.ts';
import { hedge } from '../../../lib/resilience/hedge.ts';
import { createRetryBudget } from '../../../lib/resilience/retry-budget.ts';
import {
  type Experiment,
  type Finding,
  type Lab,
  factor,
  holds,
  knownToDiffer,
  rises,
  spread,
  within,
} from '../lab.ts';
import { type Result, mean } from '../metrics.ts';
import type { Budget, Scenario, StrategyMaker } from '../scenario.ts';
import type { ServerSpec } from '../server-model.ts';
import { simulate, simulateInTurns } from '../simulate.ts';
import { type Size, exponential, lognormal, poisson } from '../sizes.ts';
import type { Kernel } from '../kernel.ts';
import { drawing, named, requests, runs, servers } from './balance.ts';

/** Behaviours 7 to 11 of `routing.md` §4.4. */

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
  const share = (name: string, options?: Readonly<Record<string, unknown>>): number[] =>
    runs(lab, scenario(named(lab, name, options))).map((r) => r.shares[0]!);
  const none = { penaltyMs: 0 };
  // A full scan without a penalty sends everything to whoever fails fastest.
  const scan = share('ewma-least-outstanding', none);
  const peak = share('p2c-peak-ewma', none);
  const lor = share('least-outstanding');
  const blind = share('random');
  const penalised = share('ewma-least-outstanding');
  const peakPenalised = share('p2c-peak-ewma');
  const bad = (maxEjected: number): number[] =>
    runs(
      lab,
      scenario(named(lab, 'random'), {
        servers: servers(10, (i) =>
          i < 4 ? { faults: [{ kind: 'fail', from: 0, to: Infinity, afterMs: 1 }] } : {},
        ),
        outlier: { maxEjected, ejectionMaxMs: 300_000 },
        gaps: poisson(0.3),
        requests: Infinity,
        untilMs: 300_000 * Math.max(0.3, lab.scale),
      }),
    ).map(({ failed, arrivals }) => failed / arrivals);
  const [cap10, cap50] = [bad(0.1), bad(0.5)];
  return [
    holds('full-scan EWMA without penalty (100 %)', '> .95', spread(scan), mean(scan) > 0.95),
    within('P2C + peak EWMA without penalty', 0.2, peak, 0.01 * lab.slack),
    holds('LOR (.137–.256)', '.12–.3', spread(lor), mean(lor) > 0.12 && mean(lor) < 0.3),
    within('random', 0.1, blind, 0.005 * lab.slack),
    holds('full-scan EWMA with penalty (0.0 %)', '< .01', spread(penalised), mean(penalised) < 0.01),
    holds('P2C + peak with penalty (.2–1.8 %)', '< .02', spread(peakPenalised), mean(peakPenalised) < 0.02),
    within('4 of 10 bad, 10 % ejected at most: errors', 0.335, cap10, 0.03),
    holds('4 of 10 bad, 50 % ejected at most (.74 %)', '< .02', spread(cap50), mean(cap50) < 0.02),
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
  const over = (fromMs: number): number[] => lab.seeds.map((seed) => share(seed, fromMs));
  const whole = over(6_000);
  return [
    within('failed for 1 s: share of minutes 2 to 6', 1.01, over(66_000), 0.06),
    knownToDiffer(
      within('failed for 1 s: share of the 6 minutes after, of the fair one', 1.01, whole, 0.06),
      whole,
      // Fifty of 360 seconds without it are .86.
      [0.8, 0.92],
      'a penalty of 5 s needs about 50 s at τ=10 s to fade to a few times the median of 10 ms',
    ),
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
const DIP_RUN_MS = 140_000;

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
      untilMs: DIP_RUN_MS,
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

/** First 5-second bin after the dip in which nine of ten succeed and that stays so, in seconds after the dip; 110: not in the run. */
function backAfter(bins: readonly number[]): number {
  const from = DIP.to / 5_000;
  let back = (DIP_RUN_MS - DIP.to) / 1_000;
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
function dipCurves(lab: Lab, seed: number): Record<string, readonly number[]> {
  return Object.fromEntries(
    Object.entries(DIPS).map(([name, { spec = {}, budget }]) => [name, dip(lab, spec, budget, seed).bins]),
  );
}

function metastable(lab: Lab): Finding[] {
  const all = lab.seeds.map((seed) => dipCurves(lab, seed));
  lab.draw?.({
    title: 'B8: a dip to 20 % of the capacity from 20 s to 30 s, 3 retries',
    x: 's',
    y: 'answered in time',
    lines: Object.entries(all[0]!).map(([name, bins]) => ({
      name,
      points: bins.map((share, bin) => [bin * 5, share] as const),
    })),
  });
  const back = (name: string): number[] => all.map((curves) => backAfter(curves[name]!));
  const atEnd = (name: string): number[] => all.map((curves) => curves[name]!.at(-2)!);
  const [ten, twenty, grpc] = [back('10 % budget'), back('20 % budget'), back('gRPC throttle')];
  const [cap, envoy] = [back('queue cap 50'), back('Envoy 20 % concurrency')];
  const seconds = (values: readonly number[]): string => `${spread(values)} s`;
  const [lost, still] = [atEnd('no budget'), atEnd('Envoy 20 % concurrency')];
  return [
    holds('no budget: success at the end (0 %)', '< .1', spread(lost), mean(lost) < 0.1),
    within('10 % budget: back after, s (20)', 20, ten, 10),
    within('20 % budget: back after, s (40)', 40, twenty, 10),
    within('gRPC throttle: back after, s (10)', 10, grpc, 10),
    rises('order', { 'queue cap': cap, gRPC: grpc, '10 %': ten, '20 %': twenty }),
    holds('queue cap 50: back', 'first bins', seconds(cap), Math.max(...cap) <= 5),
    // Retries are a fifth of what is in flight, a quarter of the first attempts: .7 × 1.25 of the capacity. The dip leaves
    // 10 s × (.875 − .2) = 6.75 s of work, and .125 of the capacity to work it off.
    holds('Envoy 20 % concurrency: back', '≤ 54 s', seconds(envoy), Math.max(...envoy) <= 54),
    knownToDiffer(
      holds('Envoy: still down at the end (33 % at 110 s)', '< .5', spread(still), mean(still) < 0.5),
      still,
      [0.95, 1],
      'a fifth of what is in flight is at most .875 of the capacity at ρ=.7, so it must recover within 54 s',
    ),
  ];
}

async function overload(lab: Lab): Promise<Finding[]> {
  const untilMs = 60_000 * Math.max(0.3, lab.scale);
  const scenario = (spec: ServerSpec): Scenario => ({
    servers: [{ slots: 10, ...spec }],
    strategy: named(lab, 'random'),
    size: exponential(10),
    gaps: poisson(1.5),
    untilMs,
    deadlineMs: 100,
  });
  // Of what the server can do while requests come (one a millisecond, two thirds of them), the share that was in time.
  const goodputOf = ({ ok, arrivals }: Result): number => ok / Math.min(arrivals, untilMs);
  const good = (spec: ServerSpec): number[] => runs(lab, scenario(spec)).map(goodputOf);
  const shipped = async (discipline: 'fifo' | 'adaptive-lifo'): Promise<number[]> => {
    const layered: Scenario = {
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
    };
    const found: number[] = [];
    for (const seed of lab.seeds) found.push(goodputOf(await simulateInTurns(layered, seed)));
    return found;
  };
  const fifo = good({});
  const drop = good({ dropExpired: true });
  const cap50 = good({ queueCap: 50 });
  const cap150 = good({ queueCap: 150 });
  const lifo = good({ discipline: 'lifo' });
  const lifoDrop = good({ discipline: 'lifo', dropExpired: true });
  const bulkhead = await shipped('fifo');
  const adaptive = await shipped('adaptive-lifo');
  return [
    below('FIFO (0 %)', fifo, 0.05),
    holds('FIFO, expired dropped (17 %)', '.03–.6', spread(drop), mean(drop) > 0.03 && mean(drop) < 0.6),
    above('cap 50 (99.9 %)', cap50, 0.9),
    below('cap 150 (0 %)', cap150, 0.05),
    above('LIFO, expired dropped (100 %)', lifoDrop, 0.9),
    above('LIFO', lifo, 0.9),
    // Its cap, slots × (deadline − mean) / mean, is 90: the mean wait of the last one ends at the deadline, chance is not in it.
    above('shipped bulkhead, cap by deadline (not in the report)', bulkhead, 0.7),
    above('shipped bulkhead, adaptive LIFO', adaptive, 0.9),
  ];
}

const above = (what: string, values: readonly number[], limit: number): Finding =>
  holds(what, `> ${limit}`, spread(values), mean(values) > limit);
const below = (what: string, values: readonly number[], limit: number): Finding =>
  holds(what, `< ${limit}`, spread(values), mean(values) < limit);

async function hedging(lab: Lab): Promise<Finding[]> {
  const meanWork = 8 * (0.98 + 0.02 * 20);
  const scenario = (rho: number, spec: ServerSpec, size: Size, more: Partial<Scenario>): Scenario => ({
    servers: servers(20, () => spec),
    strategy: named(lab, 'least-outstanding'),
    size,
    gaps: poisson((rho * 20) / meanWork),
    requests: requests(lab, 20_000),
    ...more,
  });
  const stalls: ServerSpec = { stall: { share: 0.02, factor: 20 } };
  const ordinary = lognormal(8, 0.1);
  const intrinsic: Size = (random) => ordinary(random) * (random() < 0.02 ? 20 : 1);
  const stalled = lognormal(8, 0.1);
  const run = (rho: number, more: Partial<Scenario> = {}, spec = stalls, size: Size = stalled): Result[] =>
    runs(lab, scenario(rho, spec, size, more));
  const p99Of = (results: readonly Result[]): number[] => results.map(({ p99 }) => p99);
  const budgeted = { hedge: { delayMs: 12, budget: shippedBudgetOf(0.05) } };
  const policy = { quantile: 0.95, minSamples: 20, minDelayMs: 1, budgetRatio: 0.05, maxUtilisation: 1 };
  const shipped = async (rho: number, spec: ServerSpec, size: Size = stalled): Promise<Result[]> => {
    const layered = scenario(rho, spec, size, {
      layers: (kernel) => [
        hedge({ clock: kernel, policy: () => policy, budget: () => undefined, utilisation: () => rho }),
      ],
    });
    const found: Result[] = [];
    for (const seed of lab.seeds) found.push(await simulateInTurns(layered, seed));
    return found;
  };
  const heeds: ServerSpec = { ...stalls, heedsCancel: true };
  const none = [run(0.2), run(0.4), run(0.6)] as const;
  const hedged = [await shipped(0.2, heeds), await shipped(0.4, heeds), await shipped(0.6, heeds)] as const;
  const deaf = await shipped(0.4, stalls);
  const { look, done } = drawing(lab, 'B10: 2 % of the attempts take 20 times as long, ρ=.4');
  look('no hedge', none[1]);
  look('shipped hedge', hedged[1]);
  look('servers deaf to cancels', deaf);
  done();
  // Ten servers: with twenty the collapse is a matter of luck and takes longer than a quick run.
  const ten = { servers: servers(10, () => stalls), gaps: poisson((0.6 * 10) / meanWork), requests: 60_000 };
  const collapse = run(0.6, { hedge: { delayMs: 12 }, ...ten });
  const calm = run(0.6, ten);
  const limited = run(0.6, budgeted);
  const found = [
    factor('ρ=.2 p99 without : shipped hedge (8)', p99Of(none[0]), p99Of(hedged[0]), 4),
    factor('ρ=.4 p99 without : shipped hedge (8)', p99Of(none[1]), p99Of(hedged[1]), 4),
    knownToDiffer(
      factor('ρ=.4 p99 without : shipped hedge, servers deaf to cancels', p99Of(none[1]), p99Of(deaf), 4),
      mean(p99Of(none[1])) / mean(p99Of(deaf)),
      [1.5, 4],
      'a cancelled request frees its slot in the engine while the server works on; new requests queue behind it',
    ),
    factor('ρ=.6 p99 without : 5 % budget (4.7)', p99Of(none[2]), p99Of(limited), 2),
    factor('ρ=.6 p99 without : shipped hedge (4.7)', p99Of(none[2]), p99Of(hedged[2]), 2),
    factor(
      'ρ=.6 mean, fixed delay unbudgeted : none (587)',
      collapse.map((r) => r.mean),
      calm.map((r) => r.mean),
      5,
    ),
  ];
  // Where it is the request that is long, the second attempt is as long.
  for (const rho of [0.2, 0.4, 0.6]) {
    const [plain, twice] = [run(rho, {}, {}, intrinsic), await shipped(rho, {}, intrinsic)];
    const wasted = twice.map((r) => r.wasted);
    found.push(
      factor(`intrinsic sizes, ρ=${rho}: p99 without : hedged (1)`, p99Of(plain), p99Of(twice), 0.8, 1.15),
      holds(`intrinsic sizes, ρ=${rho}: work wasted`, '> 0', spread(wasted), mean(wasted) > 0),
    );
  }
  return found;
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
  interface Crashed {
    readonly failed: readonly number[];
    readonly lost: readonly number[];
    readonly attempts: readonly number[];
  }
  const each = async (more: Partial<Scenario>): Promise<Crashed> => {
    const results: Result[] = [];
    for (const seed of lab.seeds) results.push(await simulateInTurns(scenario(more), seed));
    return {
      failed: results.map((r) => r.failed + r.rejected),
      lost: results.map((r) => r.lostInCrash),
      attempts: results.map((r) => r.attemptsPerRequest),
    };
  };
  // Seed by seed: what the server had when it went down, and nothing else.
  const exactly = (what: string, { failed, lost }: Crashed): Finding =>
    holds(what, `${lost.join(', ')} lost`, failed.join(', '), failed.join() === lost.join());
  const none = await each({});
  const breaker = await each({ breaker: BREAKER });
  const safe = await each({ retry: retry('unsafe') });
  const all = await each({ retry: retry('read') });
  const both = await each({ retry: retry('unsafe'), breaker: BREAKER });
  return [
    above('no retry: failures (1 711)', none.failed, 500),
    below('breaker (20)', breaker.failed, 25),
    exactly('safe retries fail what was in flight at the crash (2.3), by seed', safe),
    holds(
      'all retried (0, and unsafe)',
      '0',
      spread(all.failed),
      all.failed.every((n) => n === 0),
    ),
    exactly('safe retries + breaker (2.3), by seed', both),
    rises('attempts per request (1.001 / 1.173)', { both: both.attempts, 'retries only': safe.attempts }),
    below('attempts per request with both', both.attempts, 1.01),
  ];
}

export const FAULTS: readonly Experiment[] = [
  { id: 'B7', what: 'black hole and ejection', run: (lab) => [...blackHole(lab), ...forgiven(lab)] },
  { id: 'B8', what: 'metastable dip', run: metastable },
  { id: 'B9', what: 'overload ρ=1.5, deadline 10 × service', run: overload },
  { id: 'B10', what: 'hedging', run: hedging },
  { id: 'B11', what: 'crash of 1 of 5 for 20 s', run: crash },
];
