import { type Experiment, type Finding, type Lab, holds, within } from '../lab.ts';
import type { Scenario } from '../scenario.ts';
import type { ServerSpec } from '../server-model.ts';
import { simulate } from '../simulate.ts';
import { exponential, poisson, zipf } from '../sizes.ts';
import { simulateEngine } from '../through-engine.ts';

interface Run {
  readonly what: string;
  readonly strategy: string;
  readonly servers: readonly ServerSpec[];
  /** The first is long, the others say that it is so with every kind of strategy and setting. */
  readonly requests: number;
  readonly more?: Partial<Scenario>;
}

const ten = (spec: ServerSpec = {}): ServerSpec[] => Array.from({ length: 10 }, () => spec);
/** Utilisation ρ of so many servers of speed 1 with work of 10 ms. */
const load = (rho: number, servers: number) => ({ gaps: poisson((rho * servers) / 10) });

const RUNS: readonly Run[] = [
  { what: 'round-robin', strategy: 'round-robin', servers: ten(), requests: 30_000 },
  { what: 'least-outstanding', strategy: 'least-outstanding', servers: ten(), requests: 10_000 },
  { what: 'ewma', strategy: 'ewma-least-outstanding', servers: ten(), requests: 10_000 },
  { what: 'p2c', strategy: 'p2c', servers: ten(), requests: 10_000 },
  {
    what: 'weights 8, 1, 1',
    strategy: 'weighted-round-robin',
    servers: [{ weight: 8 }, { weight: 1 }, { weight: 1 }],
    requests: 10_000,
    more: load(0.7, 1),
  },
  {
    what: 'tiers 1, 0, 1',
    strategy: 'priority-failover',
    servers: [{ tier: 1 }, { tier: 0 }, { tier: 1 }],
    requests: 10_000,
    more: load(0.6, 1),
  },
  {
    what: 'zipf keys, rendezvous',
    strategy: 'rendezvous',
    servers: ten({ cache: { entries: 50, hitFactor: 0.2 } }),
    requests: 10_000,
    more: { ...load(0.5, 10), keys: zipf(1_000, 1) },
  },
  {
    what: 'zipf keys, round-robin',
    strategy: 'round-robin',
    servers: ten({ cache: { entries: 50, hitFactor: 0.2 } }),
    requests: 10_000,
    more: { ...load(0.5, 10), keys: zipf(1_000, 1) },
  },
  { what: 'one in flight each', strategy: 'random', servers: ten({ maxInFlight: 1 }), requests: 10_000 },
];

/**
 * The whole engine sends each request at the same moment to the same replica as the picker alone, so what is validated with
 * one holds for the other.
 */
async function wholeEngine(lab: Lab): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const { what, strategy, servers, requests: full, more } of RUNS) {
    const requests = Math.round(full * Math.max(0.1, lab.scale));
    const scenario: Scenario = {
      servers,
      strategy: () => lab.strategy(strategy),
      size: exponential(10),
      ...load(0.8, 10),
      requests,
      ...more,
    };
    const [whole, alone] = [await simulateEngine(scenario, 37), simulate(scenario, 37)];
    found.push(
      holds(`${what}: event log`, alone.logHash, whole.logHash, whole.logHash === alone.logHash),
      holds(`${what}: all answered`, String(requests), String(whole.ok), whole.ok === requests),
      // The ends of a short run weigh more.
      within(`${what}: Little |L−λW|/λW`, 0, whole.littleError, 0.01 * lab.slack),
    );
  }
  return found;
}

export const WHOLE: readonly Experiment[] = [
  { id: 'V37', what: 'the whole engine over fake transports', run: wholeEngine },
];
