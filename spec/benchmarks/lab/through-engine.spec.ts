import { describe, expect, it } from '@jest/globals';
import { compareEngines } from '../../../benchmarks/lab/compare.ts';
import type { Scenario } from '../../../benchmarks/lab/scenario.ts';
import { simulate } from '../../../benchmarks/lab/simulate.ts';
import type { ServerSpec } from '../../../benchmarks/lab/server-model.ts';
import { exponential, poisson, zipf } from '../../../benchmarks/lab/sizes.ts';
import { simulateEngine } from '../../../benchmarks/lab/through-engine.ts';
import { strategyByName } from '../../../lib/routing/strategy-registry.ts';

const scenario = (more: Partial<Scenario> = {}): Scenario => ({
  servers: [{}, {}, { speed: 0.5 }],
  strategy: () => strategyByName('ewma-least-outstanding'),
  size: exponential(10),
  gaps: poisson(0.15),
  requests: 300,
  ...more,
});

describe('simulateEngine', () => {
  it('sends each request where the strategy alone would, at the same moment', async () => {
    const [whole, alone] = [await simulateEngine(scenario(), 1), simulate(scenario(), 1)];
    expect(whole.ok).toBe(300);
    expect(whole.logHash).toBe(alone.logHash);
    expect(whole.latencies).toEqual(alone.latencies);
  });

  const cache = { entries: 50, hitFactor: 0.2 };
  it.each<[string, string, readonly ServerSpec[], Partial<Scenario>]>([
    ['weights', 'weighted-round-robin', [{ weight: 8 }, { weight: 1 }, { weight: 1 }], {}],
    ['tiers', 'priority-failover', [{ tier: 1 }, { tier: 0 }, { tier: 1 }], { gaps: poisson(0.05) }],
    ['keys', 'rendezvous', [{ cache }, { cache }, { cache }], { keys: zipf(300, 1) }],
    ['keys of a strategy without them', 'round-robin', [{ cache }, { cache }], { keys: zipf(300, 1) }],
    ['a limit', 'random', [{ maxInFlight: 1 }, { maxInFlight: 1 }, { maxInFlight: 1 }], {}],
    [
      'tiers with a limit',
      'least-outstanding',
      [
        { tier: 1, maxInFlight: 1 },
        { tier: 0, maxInFlight: 1 },
      ],
      {},
    ],
  ])('does so with %s', async (_, name, servers, more) => {
    const of = scenario({ servers, strategy: () => strategyByName(name), ...more });
    const [whole, alone] = [await simulateEngine(of, 1), simulate(of, 1)];
    expect(whole.ok).toBe(300);
    expect(whole.shares).toEqual(alone.shares);
    expect(whole.logHash).toBe(alone.logHash);
  });

  it('refuses limits that a server of the engine cannot have', async () => {
    const of = scenario({ servers: [{ maxInFlight: 1 }, { maxInFlight: 2 }] });
    await expect(simulateEngine(of, 1)).rejects.toThrow('share one maxInFlight');
  });

  it('keeps a closed loop going', async () => {
    const { strategies } = await compareEngines({
      workload: 'closed',
      replicas: 2,
      strategies: ['p2c'],
      requests: 300,
      seeds: [1],
    });
    expect(strategies[0]!.goodput).toBe(1);
    expect(strategies[0]!.busyMs).toBeGreaterThan(1_500);
  });

  it('loses a connection where a server crashes, and comes back to it by itself', async () => {
    const crashing = scenario({
      servers: [{ faults: [{ kind: 'crash', from: 300, to: 600 }] }, {}],
      strategy: () => strategyByName('round-robin'),
      gaps: poisson(0.1),
      requests: 1_000,
    });
    const result = await simulateEngine(crashing, 2, { retry: {} });
    expect(result.live).toBe(0);
    expect(result.ok).toBe(1_000);
    // It lost 300 ms of 10 s, and what a reconnect takes.
    expect(result.shares[0]).toBeGreaterThan(0.3);
    expect(result.shares[0]).toBeLessThan(0.5);
  });

  it('ends what a hung server keeps at the deadline of the call', async () => {
    const hung = scenario({
      servers: [{ faults: [{ kind: 'hang', from: 0, to: Infinity }] }, {}],
      strategy: () => strategyByName('random'),
      requests: 100,
      deadlineMs: 500,
    });
    const result = await simulateEngine(hung, 3);
    expect(result.live).toBe(0);
    expect(result.failed).toBeGreaterThan(25);
  });
});
