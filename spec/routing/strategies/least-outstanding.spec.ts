import { describe, expect, it } from '@jest/globals';
import { leastOutstanding } from '../../../lib/routing/strategies/least-outstanding.ts';
import { benchOf, counted, times } from '../bench.ts';

describe('least-outstanding', () => {
  it('fills evenly', () => {
    const bench = benchOf({ strategy: leastOutstanding(), replicas: 7 });
    times(70, () => bench.take());
    expect([...bench.picker.view.inflight]).toEqual([10, 10, 10, 10, 10, 10, 10]);
  });

  it('breaks ties at random: light traffic has no favourite', () => {
    const bench = benchOf({ strategy: leastOutstanding(), replicas: 10 });
    const counts = counted(times(10_000, () => bench.call(1)));
    // Index ties gave 66.8 % to the first (routing.md §1.2).
    for (const count of Object.values(counts)) expect(Math.abs(count - 1_000)).toBeLessThan(190);
  });

  it('prefers who has less, among the candidates', () => {
    const bench = benchOf({ strategy: leastOutstanding(), replicas: ['a', 'b', 'c'] });
    bench.picker.lease(0);
    bench.picker.lease(2);
    expect(bench.pick()).toMatchObject({ id: 'b' });
    bench.replicas[1]!.availability = 'impossible';
    expect(new Set(times(20, () => (bench.pick() as { id: string }).id))).toEqual(new Set(['a', 'c']));
  });
});
