import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import { leastOutstanding } from '../../lib/routing/strategies/least-outstanding.ts';
import { rendezvous } from '../../lib/routing/strategies/rendezvous.ts';
import { roundRobin } from '../../lib/routing/strategies/round-robin.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { benchOf, counted, times } from './bench.ts';

const broken = (over: Partial<RoutingStrategy>): RoutingStrategy => ({
  name: 'broken',
  init: () => null,
  pick: (_, { candidates }) => candidates[0]!,
  ...over,
});

describe('picker', () => {
  describe('mask', () => {
    it('asks suspects only when nobody is usable, and the impossible never', () => {
      const bench = benchOf({ strategy: leastOutstanding(), replicas: ['a', 'b', 'c'] });
      bench.replicas[0]!.availability = 'suspect';
      bench.replicas[1]!.availability = 'impossible';
      expect(counted(times(30, () => bench.call(1)))).toEqual({ c: 30 });
      bench.replicas[2]!.availability = 'impossible';
      expect(counted(times(30, () => bench.call(1)))).toEqual({ a: 30 });
      bench.replicas[0]!.availability = 'impossible';
      expect(bench.pick()).toEqual({ kind: 'unavailable', reason: 'impossible' });
      bench.resize([]);
      expect(bench.pick()).toEqual({ kind: 'unavailable', reason: 'empty' });
    });

    it('waits when all that may be asked are busy: a suspect is no way around a queue', () => {
      const bench = benchOf({
        strategy: leastOutstanding(),
        replicas: [
          { id: 'a', slots: 1 },
          { id: 'b', availability: 'suspect' },
        ],
      });
      const { lease } = bench.take();
      expect(bench.pick().kind).toBe('wait');
      bench.picker.settle(lease, 'ok');
      expect(bench.pick().kind).toBe('picked');
    });

    it('asks another replica as long as there is another, even a busy one', () => {
      const bench = benchOf({
        strategy: leastOutstanding(),
        replicas: [
          { id: 'a', slots: 2 },
          { id: 'b', slots: 1 },
        ],
      });
      expect(bench.pick({ tried: ['a'] })).toMatchObject({ id: 'b' });
      const index = bench.picker.indexOf('b')!;
      const lease = bench.picker.lease(index);
      expect(bench.pick({ tried: ['a'] }).kind).toBe('wait');
      bench.picker.settle(lease, 'ok');
      // All tried: again then, rather than not at all.
      expect(bench.pick({ tried: ['a', 'b'] }).kind).toBe('picked');
      bench.replicas[1]!.availability = 'suspect';
      expect(bench.pick({ tried: ['a'] })).toMatchObject({ id: 'a' });
      // A replica that is gone takes no part.
      expect(bench.pick({ tried: ['gone'] }).kind).toBe('picked');
    });

    it('knows whether a hedge has anywhere to go', () => {
      const bench = benchOf({ strategy: leastOutstanding(), replicas: ['a', 'b'] });
      expect(bench.picker.hasOther(['a'])).toBe(true);
      bench.replicas[1]!.availability = 'suspect';
      expect(bench.picker.hasOther(['a'])).toBe(false);
    });

    it('counts what others send to a replica', () => {
      const bench = benchOf({
        strategy: leastOutstanding(),
        replicas: [{ id: 'a', load: { inFlight: 7, queued: 0 } }, { id: 'b' }],
      });
      expect(counted(times(7, () => bench.take().id))).toEqual({ b: 7 });
      const full = benchOf({
        strategy: leastOutstanding(),
        replicas: [{ id: 'a', slots: 2, load: { inFlight: 2, queued: 1 } }],
      });
      expect(full.pick().kind).toBe('wait');
      expect(full.faults).toEqual([]);
    });

    it('treats an ejected replica as suspect until its time is over', () => {
      const bench = benchOf({ strategy: roundRobin(), replicas: ['a', 'b'], outlier: { consecutive: 3 } });
      for (let k = 0; k < 3; k++) bench.picker.settle(bench.picker.lease(0), 'transport');
      expect(counted(times(20, () => bench.call(1)))).toEqual({ b: 20 });
      bench.now += 31_000;
      expect(counted(times(20, () => bench.call(1)))).toEqual({ a: 10, b: 10 });
    });
  });

  describe('faults of a strategy', () => {
    it.each([
      [
        'throws',
        {
          pick: () => {
            throw new RangeError('oops');
          },
        },
        /"broken" threw in pick \(oops\)/,
      ],
      ['picks beyond the pool', { pick: () => 99 }, /"broken" picked 99, which is no candidate/],
      ['picks half a replica', { pick: () => 0.5 }, /picked 0.5/],
      ['picks nothing', { pick: () => NaN }, /picked NaN/],
      ['waits for nothing', { pick: () => -1 }, /asked to wait although nothing is in flight/],
    ] satisfies [string, Partial<RoutingStrategy>, RegExp][])(
      'one that %s is stood in for, and reported once',
      (_, over, message) => {
        const errors: TroupeError[] = [];
        const bench = benchOf({
          strategy: broken(over),
          replicas: ['a', 'b'],
          picker: { onFault: (error) => errors.push(error) },
        });
        const counts = counted(times(40, () => bench.call(1)));
        expect(Object.keys(counts).toSorted()).toEqual(['a', 'b']);
        expect(errors).toHaveLength(1);
        expect(errors[0]).toBeInstanceOf(TroupeError);
        expect(errors[0]).toMatchObject({ code: 'internal', server: 'bench' });
        expect(errors[0]!.message).toMatch(message);
      },
    );

    it('may wait while something is in flight', () => {
      const bench = benchOf({
        strategy: broken({
          pick: (_, { candidates, view }) => candidates.find((i) => view.inflight[i] === 0) ?? -1,
        }),
        replicas: ['a'],
      });
      const { lease } = bench.take();
      expect(bench.pick().kind).toBe('wait');
      bench.picker.settle(lease, 'ok');
      expect(bench.pick().kind).toBe('picked');
      expect(bench.faults).toEqual([]);
    });

    it('survives throwing observe, resize and restore, and a throwing listener', () => {
      const oops = (): never => {
        throw new Error('oops');
      };
      const bench = benchOf({
        strategy: broken({ observe: oops, resize: oops, restore: oops, snapshot: () => 1 }),
        replicas: ['a', 'b'],
        picker: { resume: { strategy: 'broken', ids: ['a'], state: 1 } },
      });
      bench.call(1);
      bench.call(1);
      bench.resize(['b', 'c']);
      bench.call(1);
      expect(bench.faults.map((f) => /threw in (\w+)/.exec(f)?.[1])).toEqual([
        'restore',
        'observe',
        'resize',
      ]);
      const deaf = benchOf({ strategy: broken({ pick: oops }), replicas: ['a'], picker: { onFault: oops } });
      expect(deaf.call(1)).toBe('a');
    });

    it('refuses two replicas of one name', () => {
      expect(() => benchOf({ strategy: leastOutstanding(), replicas: ['a', 'a'] })).toThrow(
        /two replicas .* "a"/,
      );
    });
  });

  describe('keys', () => {
    it('asks a keyed strategy for keyed requests when its own takes no notice', () => {
      const bench = benchOf({ strategy: roundRobin(), replicas: 6 });
      expect(new Set(times(20, () => bench.call(1, 'ok', { key: 42 }))).size).toBe(1);
      expect(new Set(times(20, () => bench.call(1))).size).toBe(6);
      const own = benchOf({ strategy: rendezvous(), replicas: 6 });
      expect(new Set(times(20, () => own.take({ key: 42 }).id)).size).toBe(1);
    });

    it('keeps to the only one allowed, and waits for it', () => {
      const bench = benchOf({ strategy: leastOutstanding(), replicas: [{ id: 'a', slots: 1 }, { id: 'b' }] });
      const result = bench.pick({ only: 0, key: 1 });
      expect(result).toMatchObject({ kind: 'picked', id: 'a' });
      bench.picker.lease(0);
      expect(bench.pick({ only: 0, key: 1 }).kind).toBe('wait');
      bench.replicas[0]!.availability = 'impossible';
      expect(bench.pick({ only: 0, key: 1 }).kind).toBe('unavailable');
    });
  });

  it('resumes where a picker of the same strategy stopped', () => {
    const before = benchOf({ strategy: roundRobin(), replicas: ['a', 'b', 'c', 'd'] });
    const turns = times(6, () => before.call(1));
    const resume = JSON.parse(JSON.stringify(before.picker.snapshot())) as never;
    const after = benchOf({
      strategy: roundRobin(),
      replicas: ['d', 'c', 'b', 'a'],
      seed: 9,
      picker: { resume },
    });
    expect(times(2, () => after.call(1))).toEqual(turns.slice(2, 4));
    const other = benchOf({ strategy: leastOutstanding(), replicas: ['a'], picker: { resume } });
    expect(other.call(1)).toBe('a');
    expect([...after.faults, ...other.faults]).toEqual([]);
    expect(other.picker.snapshot()).toBeUndefined();
  });
});
