import { describe, expect, it } from '@jest/globals';
import type { Outcome } from '../../../lib/core/outcome.ts';
import { p2cPeakEwma } from '../../../lib/routing/strategies/p2c-peak-ewma.ts';
import { benchOf, times } from '../bench.ts';

/** Share of ten that the one gets which fails in 1 ms, the others answering in 10. */
function blackHoleShare(options: object, calls = 20_000): number {
  const bench = benchOf({ strategy: p2cPeakEwma(options), replicas: 10 });
  let failed = 0;
  for (let i = 0; i < calls; i++) {
    const { id, lease } = bench.take();
    bench.now += id === 'r0' ? 1 : 10;
    const outcome: Outcome = id === 'r0' ? 'transport' : 'ok';
    if (id === 'r0') failed++;
    bench.picker.settle(lease, outcome);
  }
  return failed / calls;
}

describe('p2c-peak-ewma', () => {
  it('without a penalty gives 2/n to a black hole: every pair that has it', () => {
    // V21: 0.2 for n = 10.
    expect(blackHoleShare({ penaltyMs: 0 })).toBeCloseTo(0.2, 1.7);
  });

  it('with the penalty nearly nothing', () => {
    const share = blackHoleShare({});
    expect(share).toBeLessThan(0.02);
    expect(share).toBeGreaterThan(0);
  });

  it('tries a replica again once its penalty has faded', () => {
    const bench = benchOf({ strategy: p2cPeakEwma(), replicas: 2 });
    const { lease, id } = bench.take();
    bench.picker.settle(lease, 'transport');
    const next = times(200, () => bench.call(10));
    expect(next).not.toContain(id);
    const later = times(30_000, () => bench.call(10));
    expect(later.slice(-1_000).filter((i) => i === id).length).toBeGreaterThan(300);
  });

  it('takes a larger sample at once and lets go of it slowly', () => {
    const strategy = p2cPeakEwma();
    const state = strategy.init(1, ['a']);
    strategy.observe!(state, { index: 0, latencyMs: 10, outcome: 'ok', now: 0 });
    strategy.observe!(state, { index: 0, latencyMs: 100, outcome: 'ok', now: 1 });
    expect(state.cost[0]).toBe(100);
    strategy.observe!(state, { index: 0, latencyMs: 10, outcome: 'ok', now: 10_001 });
    expect(state.cost[0]).toBeCloseTo(10 + 90 * Math.exp(-1), 6);
    strategy.observe!(state, { index: 0, latencyMs: 1, outcome: 'cancelled', now: 20_000 });
    expect(state.cost[0]).toBeCloseTo(10 + 90 * Math.exp(-1), 6);
  });
});
