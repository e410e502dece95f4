import { describe, expect, it } from '@jest/globals';
import type { Scenario } from '../../../benchmarks/lab/scenario.ts';
import { simulate, simulateInTurns } from '../../../benchmarks/lab/simulate.ts';
import { exponential, poisson } from '../../../benchmarks/lab/sizes.ts';
import { strategyByName } from '../../../lib/routing/strategy-registry.ts';

const scenario = (more: Partial<Scenario> = {}): Scenario => ({
  servers: [{}, {}, { speed: 0.5 }],
  strategy: () => strategyByName('ewma-least-outstanding'),
  size: exponential(10),
  gaps: poisson(0.15),
  requests: 3_000,
  ...more,
});

describe('simulate', () => {
  it('is a pure function of scenario and seed', () => {
    const [a, b, other] = [simulate(scenario(), 1), simulate(scenario(), 1), simulate(scenario(), 2)];
    expect(b.logHash).toBe(a.logHash);
    expect(b.latencies).toEqual(a.latencies);
    expect(other.logHash).not.toBe(a.logHash);
    expect(a.logged).toBe(4 * 3_000);
  });

  it('gives every strategy the same arrivals and sizes', () => {
    const work = (name: string): number =>
      simulate(scenario({ servers: [{}, {}, {}], strategy: () => strategyByName(name) }), 3).busyMs;
    expect(work('random')).toBeCloseTo(work('least-outstanding'), 6);
  });

  it("keeps Little's law and loses no request", () => {
    const r = simulate(scenario({ requests: 20_000 }), 4);
    expect(r.littleError).toBeLessThan(0.02);
    expect(r.balanced).toBe(true);
    expect(r.ok + r.late + r.failed + r.rejected + r.live).toBe(r.arrivals);
  });

  it('loses in a crash what is there, refuses what comes, and safe retries lose only the first', () => {
    const crashed = scenario({
      servers: [{ faults: [{ kind: 'crash', from: 2_000, to: 8_000 }] }, {}, {}],
      strategy: () => strategyByName('least-outstanding'),
    });
    const none = simulate(crashed, 5);
    const safe = simulate(
      { ...crashed, retry: { retries: 2, baseMs: 10, capMs: 100, operation: 'unsafe' } },
      5,
    );
    const all = simulate({ ...crashed, retry: { retries: 2, baseMs: 10, capMs: 100, operation: 'read' } }, 5);
    expect(none.failed).toBeGreaterThan(50);
    expect(safe.failed).toBeLessThan(5);
    expect(all.failed).toBe(0);
  });

  it('goes through the shipped pool in turns, event for event the same each time', async () => {
    const layered = scenario({ requests: 500, layers: () => [] });
    const [a, b] = [await simulateInTurns(layered, 6), await simulateInTurns(layered, 6)];
    expect(b.logHash).toBe(a.logHash);
    expect(a.ok).toBe(500);
    expect(() => simulate(layered, 6)).toThrow('simulateInTurns');
  });

  it('finishes a hung server by the timeouts of the attempts', () => {
    const hung = scenario({
      servers: [{ faults: [{ kind: 'hang', from: 0, to: Infinity }] }, {}],
      strategy: () => strategyByName('random'),
      requests: 200,
      attemptTimeoutMs: 100,
    });
    const r = simulate(hung, 7);
    expect(r.live).toBe(0);
    expect(r.failed).toBeGreaterThan(50);
  });
});
