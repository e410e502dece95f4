import type { Scenario } from './scenario.ts';
import type { ServerSpec } from './server-model.ts';
import { bimodal, boundedPareto, bursty, constant, exponential, lognormal, poisson, zipf } from './sizes.ts';

/** Everything of a scenario but the strategy, for so many replicas. Add your own in one file: see `examples/compare-strategies.ts`. */
export interface Workload {
  readonly about: string;
  of(replicas: number): Omit<Scenario, 'strategy'>;
}

const REQUESTS = 60_000;
const MEAN_MS = 10;
/** Utilisation of every workload, unless its name says otherwise. */
const RHO = 0.7;

const servers = (n: number, of: (i: number) => ServerSpec = () => ({})): ServerSpec[] =>
  Array.from({ length: n }, (_, i) => of(i));

const plain = (about: string, more: (replicas: number) => Partial<Scenario> = () => ({})): Workload => ({
  about,
  of: (replicas) => ({
    servers: servers(replicas),
    size: exponential(MEAN_MS),
    gaps: poisson((RHO * replicas) / MEAN_MS),
    requests: REQUESTS,
    ...more(replicas),
  }),
});

/** A fifth of the replicas, but at least one. */
const isFifth = (i: number, n: number): boolean => i < Math.max(1, Math.round(n / 5));

export const WORKLOADS: Readonly<Record<string, Workload>> = {
  poisson: plain('random arrivals, exponential work of 10 ms, ρ=.7'),
  bursty: plain('arrivals five times as dense every other second', (n) => ({
    gaps: bursty((0.5 * n) / MEAN_MS),
  })),
  closed: plain('users who think for 100 ms between requests', (n) => ({
    closed: { users: 8 * n, thinkMs: 100 },
  })),
  constant: plain('every request takes 10 ms', () => ({ size: constant(MEAN_MS) })),
  lognormal: plain('log-normal work, σ=1', () => ({ size: lognormal(MEAN_MS) })),
  pareto: plain('heavy-tailed work, bounded Pareto 1.5', () => ({ size: boundedPareto(MEAN_MS) })),
  bimodal: plain('98 % take 5 ms, 2 % take 255 ms', () => ({ size: bimodal(MEAN_MS) })),
  mixed: plain('a fifth of the replicas at a quarter of the speed', (n) => {
    const speeds = servers(n, (i) => ({ speed: isFifth(i, n) ? 0.25 : 1 }));
    const capacity = speeds.reduce((sum, { speed = 1 }) => sum + speed, 0);
    return { servers: speeds, gaps: poisson((RHO * capacity) / MEAN_MS) };
  }),
  antagonists: plain('each replica at a quarter of its speed for 2 s of 10', (n) => ({
    servers: servers(n, () => ({ antagonist: { gapMs: 8_000, boutMs: 2_000, factor: 0.25 } })),
  })),
  dip: plain('all at a fifth of the speed from 10 s to 20 s; timeouts and retries', (n) => ({
    servers: servers(n, () => ({ slow: [{ from: 10_000, to: 20_000, factor: 0.2 }], queueCap: 50 })),
    requests: Infinity,
    untilMs: 60_000,
    deadlineMs: 4_000,
    attemptTimeoutMs: 1_000,
    retry: { retries: 2, baseMs: 100, capMs: 2_000, operation: 'read' },
  })),
  'black-hole': plain('one replica fails in 1 ms', (n) => ({
    servers: servers(n, (i) =>
      i === 0 ? { faults: [{ kind: 'fail', from: 5_000, to: Infinity, afterMs: 1 }] } : {},
    ),
    gaps: poisson((0.6 * n) / MEAN_MS),
  })),
  crash: plain('one replica is down from 5 s to 15 s', (n) => ({
    servers: servers(n, (i) => (i === 0 ? { faults: [{ kind: 'crash', from: 5_000, to: 15_000 }] } : {})),
    gaps: poisson((0.6 * n) / MEAN_MS),
    retry: { retries: 2, baseMs: 100, capMs: 2_000, operation: 'unsafe' },
  })),
  zipf: plain('keys of unequal weight, replicas that remember the last 200', (n) => ({
    servers: servers(n, () => ({ cache: { entries: 200, hitFactor: 0.2 } })),
    keys: zipf(10_000, 1),
  })),
};
