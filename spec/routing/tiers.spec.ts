import { describe, expect, it } from '@jest/globals';
import { tierOptions, tierShares } from '../../lib/routing/tiers.ts';

const percent = (shares: readonly number[]): number[] => shares.map((s) => Math.round(s * 100));

describe('tiers', () => {
  it.each([
    // V33, Envoy: share of the first tier by how much of it is usable, ×1.4.
    [0.72, 100],
    [0.71, 99],
    [0.5, 70],
    [0.25, 35],
    [0, 0],
  ])('%d usable: %i % stay in the first tier', (usable, stay) => {
    expect(percent(tierShares([usable, 1]))).toEqual([stay, 100 - stay]);
  });

  it.each([
    [
      [0.25, 0.25],
      [50, 50],
    ],
    [
      [0.1, 0.3, 0],
      [25, 75, 0],
    ],
    [
      [0.5, 0.1, 1],
      [70, 14, 16],
    ],
    [
      [0, 0],
      [0, 0],
    ],
  ])('%j is split %j', (usable, expected) => {
    expect(percent(tierShares(usable))).toEqual(expected);
  });

  it('takes another factor, and refuses a wrong one', () => {
    expect(percent(tierShares([0.5, 1], 2))).toEqual([100, 0]);
    expect(tierOptions()).toEqual({ mode: 'failover', factor: 1.4 });
    expect(() => tierOptions({ factor: 0.5 })).toThrow(/config_invalid.*tiers\.factor/);
    expect(() => tierOptions({ mode: 'x' as never })).toThrow(/config_invalid.*tiers\.mode/);
  });
});
