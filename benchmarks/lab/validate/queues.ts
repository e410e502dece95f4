import type { RoutingStrategy } from '../../../lib/routing/strategy.ts';
import { type Experiment, type Finding, type Lab, near, within } from '../lab.ts';
import type { Result } from '../metrics.ts';
import type { Scenario } from '../scenario.ts';
import { simulate } from '../simulate.ts';
import { type Size, constant, exponential, lognormal, poisson } from '../sizes.ts';

/** Queueing theory has a formula for each of these; the simulator has only events (`routing.md` §4.3). */

interface Case {
  readonly n: number;
  readonly rho: number;
  readonly strategy: () => RoutingStrategy;
  readonly slots?: number;
  readonly size?: Size;
  readonly discipline?: 'fifo' | 'ps';
  /** Per seed, at scale 1. */
  readonly requests?: number;
  readonly seeds?: number;
}

const REQUESTS = 400_000;
/** At ρ = 0.9 the standard deviation of the mean is four times that at 0.8 (§4.2), so four times as many and more. */
const REQUESTS_AT_09 = 1_000_000;

export function runCase(lab: Lab, of: Case): readonly Result[] {
  const { n, rho, slots = 1, size = exponential(1), discipline = 'fifo' } = of;
  const requests = Math.round((of.requests ?? (rho >= 0.9 ? REQUESTS_AT_09 : REQUESTS)) * lab.scale);
  const scenario: Scenario = {
    servers: Array.from({ length: n }, () => ({ slots, discipline })),
    strategy: of.strategy,
    size,
    gaps: poisson(rho * n * slots),
    requests,
  };
  return lab.seeds.slice(0, of.seeds).map((seed) => simulate(scenario, seed));
}

/** ±3 % for means up to ρ = 0.8, ±6 % at 0.9 and above; ±5 % and ±10 % for p99 (§4.2). */
export function meanTolerance(rho: number): number {
  return rho > 0.8 ? 0.06 : 0.03;
}
const p99Tolerance = (rho: number): number => (rho > 0.8 ? 0.1 : 0.05);

type Column = 'mean' | 'p50' | 'p99' | 'p999' | 'meanWait' | 'p99Wait' | 'waited';
const TAILS: ReadonlySet<Column> = new Set(['p99', 'p999', 'p99Wait']);

function findings(lab: Lab, of: Case, expected: Partial<Record<Column, number>>, label = ''): Finding[] {
  const results = runCase(lab, of);
  const found = (Object.entries(expected) as [Column, number][]).map(([column, value]) =>
    near(
      `${label}${NAMES[column]}`,
      value,
      results.map((r) => r[column]),
      lab.slack * (TAILS.has(column) ? p99Tolerance(of.rho) : meanTolerance(of.rho)),
    ),
  );
  const little = Math.max(...results.map((r) => r.littleError));
  found.push(within(`${label}Little |L−λW|/λW`, 0, little, 0.01));
  const balanced = results.every(
    (r) => r.balanced && r.arrivals === r.ok + r.late + r.failed + r.rejected + r.live,
  );
  found.push(within(`${label}arrivals − ended − live`, 0, balanced ? 0 : 1, 0));
  return found;
}

const NAMES: Record<Column, string> = {
  mean: 'T',
  p50: 'p50',
  p99: 'p99',
  p999: 'p99.9',
  meanWait: 'Wq',
  p99Wait: 'Wq p99',
  waited: 'P(wait)',
};

const single =
  (lab: Lab) =>
  (rho: number, more: Partial<Case> = {}): Case => ({
    n: 1,
    rho,
    strategy: () => lab.strategy('random'),
    ...more,
  });

const spread =
  (lab: Lab, name: string) =>
  (n: number, rho: number, more: Partial<Case> = {}): Case => ({
    n,
    rho,
    strategy: () => lab.strategy(name),
    ...more,
  });

/** As many choices as wanted; only two are shipped (`p2c`). */
export const bestOf = (d: number): RoutingStrategy<null> => ({
  name: `best-of-${d}`,
  init: () => null,
  pick(_, { candidates, rng, view }) {
    let best = -1;
    for (let k = 0; k < d; k++) {
      const i = candidates[Math.floor(rng() * candidates.length)]!;
      if (best < 0 || view.inflight[i]! < view.inflight[best]!) best = i;
    }
    return best;
  },
});

export const QUEUES: readonly Experiment[] = [
  {
    id: 'V1',
    what: 'M/M/1 ρ=.5',
    run: (lab) =>
      findings(lab, single(lab)(0.5), { mean: 2, p50: 1.386, p99: 9.21, p999: 13.816, p99Wait: 7.824 }),
  },
  {
    id: 'V2',
    what: 'M/M/1 ρ=.8',
    run: (lab) => findings(lab, single(lab)(0.8), { mean: 5, p50: 3.466, p99: 23.026, meanWait: 4 }),
  },
  { id: 'V3', what: 'M/M/1 ρ=.9', run: (lab) => findings(lab, single(lab)(0.9), { mean: 10, p99: 46.05 }) },
  {
    id: 'V4',
    what: 'M/M/2 ρ=.8',
    run: (lab) =>
      findings(lab, single(lab)(0.8, { slots: 2 }), { waited: 0.7111, meanWait: 1.7778, p99: 11.937 }),
  },
  {
    id: 'V6',
    what: 'M/M/8 ρ=.8',
    run: (lab) =>
      findings(lab, single(lab)(0.8, { slots: 8, requests: 800_000 }), {
        waited: 0.4576,
        meanWait: 0.286,
        p99: 5.152,
      }),
  },
  {
    id: 'V8',
    what: 'M/D/1 ρ=.8',
    run: (lab) => findings(lab, single(lab)(0.8, { size: constant(1) }), { meanWait: 2 }),
  },
  {
    id: 'V9',
    what: 'M/lognormal(σ1)/1 ρ=.7',
    run: (lab) =>
      findings(lab, single(lab)(0.7, { size: lognormal(1), requests: 1_000_000 }), { meanWait: 3.1713 }),
  },
  {
    id: 'V10',
    what: 'M/D/1-PS ρ=.8 (insensitive to sizes)',
    run: (lab) =>
      findings(lab, single(lab)(0.8, { size: constant(1), discipline: 'ps', requests: 200_000 }), {
        mean: 5,
      }),
  },
  {
    id: 'V11',
    what: 'random, n=10 ρ=.8 (as M/M/1)',
    run: (lab) => findings(lab, spread(lab, 'random')(10, 0.8), { mean: 5, p99: 23.03 }),
  },
  {
    id: 'V12',
    what: 'round-robin, n=10 ρ=.8 (E10/M/1)',
    run: (lab) =>
      findings(lab, spread(lab, 'round-robin')(10, 0.8), { mean: 2.9223, p99: 13.458, p999: 20.19 }),
  },
  {
    id: 'V13',
    what: 'round-robin by n and ρ',
    run: (lab) => {
      const of = spread(lab, 'round-robin');
      return [
        ...findings(lab, of(2, 0.8), { mean: 3.844 }, 'n=2 '),
        ...findings(lab, of(4, 0.8), { mean: 3.267 }, 'n=4 '),
        ...findings(lab, of(100, 0.8, { requests: 200_000 }), { mean: 2.716 }, 'n=100 '),
        ...findings(lab, of(10, 0.7), { mean: 2.0198 }, 'ρ=.7 '),
        ...findings(lab, of(10, 0.9), { mean: 5.6603 }, 'ρ=.9 '),
      ];
    },
  },
  {
    id: 'V14',
    what: 'p2c mean field, n=200 (1 000 at λ=.99)',
    run: (lab) => {
      const of = spread(lab, 'p2c');
      const many = { requests: 200_000 };
      // A thousand servers that begin empty need some hundred each to fill; a quick run needs them too.
      const settled = Math.max(1_000_000, 400_000 / lab.scale);
      return [
        ...findings(lab, of(200, 0.5, many), { mean: 1.2657 }, 'λ=.5 '),
        ...findings(lab, of(200, 0.7, many), { mean: 1.6145 }, 'λ=.7 '),
        ...findings(lab, of(200, 0.8, many), { mean: 1.9474, p99: 7.374 }, 'λ=.8 '),
        ...findings(lab, of(200, 0.9, many), { mean: 2.6141, p99: 8.791 }, 'λ=.9 '),
        ...findings(lab, of(200, 0.95, { requests: 400_000 }), { mean: 3.383, p99: 10.218 }, 'λ=.95 '),
        // Two hundred are too few to be a mean field at .99; a thousand are 1.6 % off it (M/M/1000 waits 0.09).
        ...findings(lab, of(1_000, 0.99, { requests: settled, seeds: 1 }), { mean: 5.432 }, 'λ=.99 '),
      ];
    },
  },
  {
    id: 'V15',
    what: 'best of 3, mean field, n=200 λ=.9 (own strategy)',
    run: (lab) =>
      findings(lab, { n: 200, rho: 0.9, strategy: () => bestOf(3), requests: 200_000 }, { mean: 2.0279 }),
  },
];
