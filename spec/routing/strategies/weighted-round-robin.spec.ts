import { describe, expect, it } from '@jest/globals';
import { roundRobin } from '../../../lib/routing/strategies/round-robin.ts';
import { weightedRoundRobin } from '../../../lib/routing/strategies/weighted-round-robin.ts';
import { benchOf, counted, times } from '../bench.ts';

const FIVE_ONE_ONE = [
  { id: 'a', weight: 5 },
  { id: 'b', weight: 1 },
  { id: 'c', weight: 1 },
];

describe('weighted-round-robin', () => {
  it('smooth: five, one, one is nginx’s a a b a c a a, again and again', () => {
    // V31.
    const bench = benchOf({ strategy: weightedRoundRobin({ order: 'smooth' }), replicas: FIVE_ONE_ONE });
    expect(times(21, () => bench.call(1)).join('')).toBe('aabacaa'.repeat(3));
  });

  it('earliest deadline first: 60 turns of three, two, one are 30, 20, 10', () => {
    const bench = benchOf({
      strategy: weightedRoundRobin(),
      replicas: [
        { id: 'a', weight: 3 },
        { id: 'b', weight: 2 },
        { id: 'c', weight: 1 },
      ],
    });
    // The random start shifts a replica by less than one of its turns.
    for (let round = 1; round <= 5; round++) {
      const counts = counted(times(60, () => bench.call(1)));
      expect(Math.abs(counts['a']! - 30)).toBeLessThanOrEqual(1);
      expect(Math.abs(counts['b']! - 20)).toBeLessThanOrEqual(1);
      expect(Math.abs(counts['c']! - 10)).toBeLessThanOrEqual(1);
    }
  });

  it('starts elsewhere with every seed, so that engines do not march in step', () => {
    const firsts = times(200, (seed) =>
      benchOf({ strategy: weightedRoundRobin(), replicas: 4, seed }).call(1),
    );
    const counts = counted(firsts);
    expect(Object.keys(counts).toSorted()).toEqual(['r0', 'r1', 'r2', 'r3']);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(25);
  });
});

describe('round-robin', () => {
  it('gives everybody the same count and never the same replica twice running', () => {
    const bench = benchOf({ strategy: roundRobin(), replicas: 5 });
    const turns = times(500, () => bench.call(1));
    expect(counted(turns)).toEqual({ r0: 100, r1: 100, r2: 100, r3: 100, r4: 100 });
    expect(turns.slice(0, 5)).toEqual(turns.slice(5, 10));
  });

  it('spreads the turns of a masked replica over all the others', () => {
    const bench = benchOf({ strategy: roundRobin(), replicas: 5 });
    times(7, () => bench.call(1));
    bench.replicas[1]!.availability = 'impossible';
    expect(counted(times(400, () => bench.call(1)))).toEqual({ r0: 100, r2: 100, r3: 100, r4: 100 });
  });

  it('gives one that comes back its turn, not all it has missed', () => {
    const bench = benchOf({ strategy: roundRobin(), replicas: 5 });
    bench.replicas[1]!.availability = 'impossible';
    times(1_000, () => bench.call(1));
    bench.replicas[1]!.availability = 'usable';
    expect(counted(times(10, () => bench.call(1)))['r1']).toBe(2);
  });

  it('goes on in order after a resize', () => {
    const bench = benchOf({ strategy: roundRobin(), replicas: ['a', 'b', 'c', 'd'] });
    const order = times(4, () => bench.call(1));
    const left = order.filter((id) => id !== 'b');
    bench.resize(['d', 'c', 'a']);
    expect(times(6, () => bench.call(1))).toEqual([...left, ...left]);
  });
});
