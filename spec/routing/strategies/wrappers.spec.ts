import { describe, expect, it } from '@jest/globals';
import { leastOutstanding } from '../../../lib/routing/strategies/least-outstanding.ts';
import { priorityFailover } from '../../../lib/routing/strategies/priority-failover.ts';
import { random } from '../../../lib/routing/strategies/random.ts';
import { slowStartShare, withSlowStart } from '../../../lib/routing/strategies/with-slow-start.ts';
import { withSubset } from '../../../lib/routing/strategies/with-subset.ts';
import { withTiers } from '../../../lib/routing/strategies/with-tiers.ts';
import { benchOf, counted, times } from '../bench.ts';

describe('slow start', () => {
  it.each([
    // Envoy's numbers (routing.md §1.5), window 60 s.
    [6_000, 1, 0.1],
    [15_000, 1, 0.25],
    [30_000, 1, 0.5],
    [6_000, 2, 0.316],
    [15_000, 2, 0.5],
    [0, 1, 0.1],
    [60_000, 1, 1],
  ])('%i ms into it, aggression %i, the share is %d', (since, aggression, share) => {
    expect(slowStartShare(since, 60_000, aggression)).toBeCloseTo(share, 3);
  });

  it('spares a replica that came back, whatever the strategy', () => {
    for (const make of [random, leastOutstanding]) {
      const bench = benchOf({ strategy: withSlowStart(make()), replicas: 4 });
      bench.replicas[0]!.availability = 'impossible';
      bench.call(1);
      bench.now += 120_000;
      bench.replicas[0]!.availability = 'usable';
      const share = (): number => {
        const { now } = bench;
        const counts = counted(times(4_000, () => bench.call(0)));
        bench.now = now;
        return (counts['r0'] ?? 0) / 4_000;
      };
      expect(share()).toBeLessThan(0.05);
      bench.now += 30_000;
      expect(share()).toBeGreaterThan(0.08);
      expect(share()).toBeLessThan(0.18);
      bench.now += 31_000;
      expect(Math.abs(share() - 0.25)).toBeLessThan(0.04);
    }
  });

  it('holds nothing back when all are new', () => {
    const bench = benchOf({ strategy: withSlowStart(random()), replicas: 1 });
    expect(times(20, () => bench.call(1))).toEqual(times(20, () => 'r0'));
  });
});

describe('tiers', () => {
  const replicas = [
    { id: 'p0', tier: 0, slots: 2 },
    { id: 'p1', tier: 0, slots: 2 },
    { id: 'f0', tier: 1, slots: 100 },
  ];

  it('fails over only when nothing of the first tier is usable', () => {
    const bench = benchOf({ strategy: withTiers(random()), replicas });
    expect(Object.keys(counted(times(50, () => bench.call(1)))).toSorted()).toEqual(['p0', 'p1']);
    bench.replicas[0]!.availability = 'impossible';
    expect(counted(times(50, () => bench.call(1)))).toEqual({ p1: 50 });
    bench.replicas[1]!.availability = 'suspect';
    expect(counted(times(50, () => bench.call(1)))).toEqual({ f0: 50 });
    bench.replicas[2]!.availability = 'impossible';
    // Panic: a suspect of the first tier rather than nobody.
    expect(bench.call(1)).toBe('p1');
  });

  it('waits for a busy tier: being busy is load', () => {
    const bench = benchOf({ strategy: withTiers(random()), replicas });
    times(4, () => bench.take());
    expect(bench.pick().kind).toBe('wait');
    expect(bench.faults).toEqual([]);
  });

  it('goes to the next tier when the first has been tried', () => {
    const bench = benchOf({ strategy: withTiers(random()), replicas });
    expect(bench.take({ tried: ['p0', 'p1'] }).id).toBe('f0');
  });

  it('spills in proportion as a tier loses replicas', () => {
    const bench = benchOf({
      strategy: withTiers(random(), { mode: 'proportional' }),
      replicas: [
        ...times(4, (i) => ({ id: `p${i}`, tier: 0 })),
        ...times(2, (i) => ({ id: `f${i}`, tier: 1 })),
      ],
    });
    const primary = (): number =>
      times(4_000, () => bench.call(0)).filter((id) => id.startsWith('p')).length / 4_000;
    expect(primary()).toBe(1);
    bench.replicas[0]!.availability = 'impossible';
    bench.replicas[1]!.availability = 'impossible';
    // 50 % usable × 1.4 = 70 %.
    expect(Math.abs(primary() - 0.7)).toBeLessThan(0.04);
  });

  it('holds for keyed requests, which another strategy picks', () => {
    const bench = benchOf({ strategy: withTiers(leastOutstanding()), replicas });
    for (let key = 0; key < 50; key++) expect(bench.call(1, 'ok', { key: key * 7_919 })).not.toBe('f0');
  });
});

describe('subset', () => {
  it('keeps an engine to its part, and engines to different parts', () => {
    const used = (client: string): string[] => {
      const bench = benchOf({ strategy: withSubset(random(), { size: 4, client }), replicas: 20 });
      return Object.keys(counted(times(400, () => bench.call(1)))).toSorted();
    };
    expect(used('one')).toHaveLength(4);
    expect(used('one')).toEqual(used('one'));
    expect(used('one')).not.toEqual(used('two'));
  });

  it('changes one member at most when a replica goes', () => {
    const bench = benchOf({ strategy: withSubset(random(), { size: 4, client: 'one' }), replicas: 20 });
    const before = Object.keys(counted(times(400, () => bench.call(1))));
    bench.resize(bench.replicas.map((r) => r.id).filter((id) => id !== before[0]));
    const after = Object.keys(counted(times(400, () => bench.call(1))));
    expect(after.filter((id) => before.includes(id))).toHaveLength(3);
  });

  it('uses the whole pool rather than nobody', () => {
    const bench = benchOf({ strategy: withSubset(random(), { size: 2, client: 'one' }), replicas: 6 });
    const mine = Object.keys(counted(times(200, () => bench.call(1))));
    for (const replica of bench.replicas) if (mine.includes(replica.id)) replica.availability = 'impossible';
    expect(mine).not.toContain(bench.call(1));
  });

  it.each([
    [{ size: 0, client: 'x' }, 'size'],
    [{ size: 3, client: '' }, 'client'],
  ])('refuses %j', (options, field) => {
    expect(() => withSubset(random(), options)).toThrow(new RegExp(`config_invalid.*"${field}"`));
  });
});

describe('priority-failover', () => {
  it('uses the standby only while the first is not to be had', () => {
    const bench = benchOf({
      strategy: priorityFailover(),
      replicas: [{ id: 'a', slots: 1 }, { id: 'b' }, { id: 'c' }],
    });
    expect(counted(times(20, () => bench.call(1)))).toEqual({ a: 20 });
    bench.take();
    expect(bench.take().id).toBe('b');
    bench.replicas[0]!.availability = 'impossible';
    bench.replicas[1]!.availability = 'suspect';
    expect(bench.call(1)).toBe('c');
  });

  it('goes by tier before the order of declaration', () => {
    const bench = benchOf({
      strategy: priorityFailover(),
      replicas: [
        { id: 'a', tier: 1 },
        { id: 'b', tier: 0 },
      ],
    });
    expect(bench.call(1)).toBe('b');
  });
});
