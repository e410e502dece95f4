import { describe, expect, it } from '@jest/globals';
import { leastOutstanding } from '../../../lib/routing/strategies/least-outstanding.ts';
import { p2c } from '../../../lib/routing/strategies/p2c.ts';
import { random } from '../../../lib/routing/strategies/random.ts';
import { meanFullestBin } from '../bench.ts';

describe('random', () => {
  it.each([
    // V18 of routing.md §4.3, exact expectations of the fullest bin.
    [10, 10, 2.748_69],
    [100, 100, 4.2326],
    [10, 100, 15.1245],
    [5, 50, 13.7976],
  ])('throws %i bins %i balls: the fullest has %d on average', (bins, balls, expected) => {
    expect(Math.abs(meanFullestBin(random, bins, balls, 600) - expected)).toBeLessThan(expected * 0.03);
  });

  it('is beaten by two choices, and those by a full scan', () => {
    const [one, two, all] = [random, p2c, leastOutstanding].map((make) => meanFullestBin(make, 50, 50, 60));
    expect(one!).toBeGreaterThan(two! + 1);
    expect(two!).toBeGreaterThan(all! + 0.5);
    expect(all).toBe(1);
  });
});
