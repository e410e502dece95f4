import { describe, expect, it } from '@jest/globals';
import { p2c } from '../../../lib/routing/strategies/p2c.ts';
import { benchOf, counted, times } from '../bench.ts';

describe('p2c', () => {
  it.each([
    // V20: two distinct ones of n = 100, all four pairs among the bad; Finagle's table of panics (±1 %).
    [50, 0.003_75],
    [70, 0.0567],
    [90, 0.4285],
  ])(
    'draws distinct pairs: with %i of 100 loaded, four pairs in a row are with probability %d',
    (bad, expected) => {
      const bench = benchOf({ strategy: p2c(), replicas: 100 });
      for (let i = 0; i < bad; i++) bench.picker.lease(i);
      const rounds = 40_000;
      let loaded = 0;
      for (let i = 0; i < rounds; i++) {
        const result = bench.pick();
        if (result.kind === 'picked' && result.index < bad) loaded++;
      }
      const single = loaded / rounds;
      expect(Math.abs(single - (bad * (bad - 1)) / 9_900)).toBeLessThan(0.01);
      expect(Math.abs(single ** 4 - expected)).toBeLessThan(0.02);
    },
  );

  it('never sends anything to the masked, however few are left', () => {
    const bench = benchOf({ strategy: p2c(), replicas: 100 });
    for (const replica of bench.replicas.slice(1)) replica.availability = 'suspect';
    expect(counted(times(500, () => bench.call(1)))).toEqual({ r0: 500 });
  });

  it('honours weights when it compares', () => {
    const bench = benchOf({ strategy: p2c(), replicas: [{ id: 'a', weight: 3 }, { id: 'b' }] });
    expect(counted(times(40, () => bench.take().id))).toEqual({ a: 30, b: 10 });
  });
});
