import { describe, expect, it } from '@jest/globals';
import { hash32 } from '../../../lib/routing/hash.ts';
import { rendezvous } from '../../../lib/routing/strategies/rendezvous.ts';
import { rendezvousP2c } from '../../../lib/routing/strategies/rendezvous-p2c.ts';
import { benchOf, counted, times } from '../bench.ts';

const KEYS = times(20_000, (k) => hash32(`key ${k}`));

function owners(bench: ReturnType<typeof benchOf>): string[] {
  return KEYS.map((key) => {
    const result = bench.pick({ key });
    return result.kind === 'picked' ? result.id : result.kind;
  });
}

describe('rendezvous', () => {
  it('moves the keys of a lost replica and no others', () => {
    // V30: 10 % ± binomial of 10 replicas, no collateral.
    const bench = benchOf({ strategy: rendezvous(), replicas: 10 });
    const before = owners(bench);
    bench.resize(bench.replicas.map((r) => r.id).filter((id) => id !== 'r4'));
    const after = owners(bench);
    const moved = KEYS.filter((_, k) => before[k] !== after[k]).length;
    expect(KEYS.filter((_, k) => before[k] !== 'r4' && before[k] !== after[k])).toEqual([]);
    expect(Math.abs(moved / KEYS.length - 0.1)).toBeLessThan(0.01);
    const share = counted(after);
    expect(Math.max(...Object.values(share)) / (KEYS.length / 9)).toBeLessThan(1.08);
  });

  it('masking is like losing, and coming back like never having gone', () => {
    const bench = benchOf({ strategy: rendezvous(), replicas: 6 });
    const before = owners(bench);
    bench.replicas[2]!.availability = 'impossible';
    expect(owners(bench)).not.toContain('r2');
    bench.replicas[2]!.availability = 'usable';
    expect(owners(bench)).toEqual(before);
  });

  it('gives keys in proportion to the weights', () => {
    const bench = benchOf({
      strategy: rendezvous(),
      replicas: [
        { id: 'a', weight: 1 },
        { id: 'b', weight: 2 },
        { id: 'c', weight: 5 },
      ],
    });
    const share = counted(owners(bench));
    expect(share['a']! / KEYS.length).toBeCloseTo(1 / 8, 2);
    expect(share['b']! / KEYS.length).toBeCloseTo(2 / 8, 1.7);
    expect(share['c']! / KEYS.length).toBeCloseTo(5 / 8, 1.7);
  });
});

describe('rendezvous-p2c', () => {
  it('uses two replicas for a key, the first one while it is not busier', () => {
    const bench = benchOf({ strategy: rendezvousP2c(), replicas: 8 });
    const first = bench.take({ key: 5 }).id;
    const second = bench.take({ key: 5 }).id;
    expect(second).not.toBe(first);
    expect(counted(times(10, () => bench.take({ key: 5 }).id))).toEqual({ [first]: 5, [second]: 5 });
    const calm = benchOf({ strategy: rendezvousP2c(), replicas: 8, seed: 4 });
    expect(new Set(times(10, () => calm.call(1, 'ok', { key: 5 })))).toEqual(new Set([first]));
    const alone = benchOf({ strategy: rendezvous(), replicas: 8 });
    expect(alone.take({ key: 5 }).id).toBe(first);
  });
});
