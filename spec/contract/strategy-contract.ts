import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Availability } from '../../lib/core/availability.ts';
import type { Outcome } from '../../lib/core/outcome.ts';
import type { Lease } from '../../lib/routing/load-meter.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { type Bench, benchOf, counted, times } from '../routing/bench.ts';

export interface ContractTraits {
  /** Slots, weights and tiers the replicas are given beside the plain ones. */
  readonly keyed: boolean;
  /** Its picks depend on the order of declaration by intent. */
  readonly ordered: boolean;
}

type Step =
  | { readonly do: 'take'; readonly key: number | undefined; readonly retry: boolean }
  | { readonly do: 'settle'; readonly which: number; readonly outcome: Outcome; readonly ms: number }
  | { readonly do: 'availability'; readonly which: number; readonly to: Availability }
  | { readonly do: 'resize'; readonly ids: readonly string[] };

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];

const outcome = fc.constantFrom<Outcome>(
  'ok',
  'ok',
  'ok',
  'tool-error',
  'app-error',
  'server-error',
  'overload',
  'transport',
  'timeout',
  'refused',
  'cancelled',
);

function steps(withResize: boolean): fc.Arbitrary<Step[]> {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('take' as const),
        key: fc.option(fc.integer({ min: 0, max: 0xffffffff }), { nil: undefined }),
        retry: fc.boolean(),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('settle' as const),
        which: fc.nat(100),
        outcome,
        ms: fc.integer({ min: 0, max: 20_000 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('availability' as const),
        which: fc.nat(6),
        to: fc.constantFrom<Availability>('usable', 'usable', 'suspect', 'impossible'),
      }),
    },
    ...(withResize
      ? [
          {
            weight: 1,
            arbitrary: fc.record({
              do: fc.constant('resize' as const),
              ids: fc.shuffledSubarray(NAMES, { minLength: 1 }),
            }),
          },
        ]
      : []),
  );
  return fc.array(step, { minLength: 1, maxLength: 60 });
}

/** Replicas of every kind: unlike weights, few slots, two tiers. */
function replicasOf(
  names: readonly string[],
): readonly { id: string; slots: number; weight: number; tier: number }[] {
  return names.map((id, i) => ({ id, slots: 1 + (i % 3), weight: 1 + (i % 2), tier: i % 2 }));
}

/** Plays the steps; `after` sees every pick before its lease is taken. Returns the picks. */
function play(
  bench: Bench,
  script: readonly Step[],
  between: (at: number) => void = () => {},
  onPick: (id: string, tried: readonly string[]) => void = () => {},
): string[] {
  const live: Lease[] = [];
  const picks: string[] = [];
  let last: string | undefined;
  script.forEach((step, at) => {
    between(at);
    switch (step.do) {
      case 'take': {
        const tried = step.retry && last !== undefined ? [last] : [];
        const result = bench.pick({ tried, ...(step.key === undefined ? {} : { key: step.key }) });
        picks.push(result.kind === 'picked' ? result.id : result.kind);
        if (result.kind !== 'picked') break;
        onPick(result.id, tried);
        last = result.id;
        live.push(bench.picker.lease(result.index));
        break;
      }
      case 'settle': {
        bench.now += step.ms;
        const [lease] = live.length === 0 ? [] : live.splice(step.which % live.length, 1);
        if (lease !== undefined) bench.picker.settle(lease, step.outcome);
        break;
      }
      case 'availability':
        bench.replicas[step.which % bench.replicas.length]!.availability = step.to;
        break;
      case 'resize':
        bench.resize(step.ids);
        break;
    }
    expect(bench.picker.live).toBe(live.length);
  });
  return picks;
}

/** What every strategy must keep to (`routing.md` §3.1), shipped or not. */
export function strategyContract(name: string, make: () => RoutingStrategy, traits: ContractTraits): void {
  const start = NAMES.slice(0, 5);

  describe(`strategy contract: ${name}`, () => {
    it('picks nothing but candidates, whatever happens to the pool', () => {
      fc.assert(
        fc.property(steps(true), fc.integer(), (script, seed) => {
          const bench = benchOf({ strategy: make(), replicas: replicasOf(start), seed });
          play(bench, script, undefined, (id, tried) => {
            const replica = bench.replicas.find((r) => r.id === id)!;
            const index = bench.picker.indexOf(id)!;
            expect(replica.availability).not.toBe('impossible');
            const anyUsable = bench.replicas.some((r) => r.availability === 'usable');
            expect(replica.availability === 'usable' || !anyUsable).toBe(true);
            const inFlight = bench.picker.view.inflight[index]!;
            expect(inFlight).toBeLessThan(replica.slots ?? Infinity);
            expect(tried.includes(id) && bench.picker.hasOther(tried)).toBe(false);
          });
          // A pick outside of the candidates would have been reported, and covered by another strategy.
          expect(bench.faults).toEqual([]);
        }),
        { numRuns: 150 },
      );
    });

    it('makes the same picks for the same seed and events', () => {
      fc.assert(
        fc.property(steps(true), fc.integer(), (script, seed) => {
          const once = play(benchOf({ strategy: make(), replicas: replicasOf(start), seed }), script);
          const again = play(benchOf({ strategy: make(), replicas: replicasOf(start), seed }), script);
          expect(again).toEqual(once);
        }),
        { numRuns: 60 },
      );
    });

    it('goes on undisturbed when a resize changes nobody', () => {
      fc.assert(
        fc.property(steps(false), fc.integer(), fc.nat(59), (script, seed, when) => {
          const plain = play(benchOf({ strategy: make(), replicas: replicasOf(start), seed }), script);
          const bench = benchOf({ strategy: make(), replicas: replicasOf(start), seed });
          const resized = play(bench, script, (at) => {
            if (at === when) bench.resize(bench.replicas.map((r) => r.id));
          });
          expect(resized).toEqual(plain);
        }),
        { numRuns: 60 },
      );
    });

    it('keeps what is in flight at the survivors of a resize, wherever they stand then', () => {
      const bench = benchOf({ strategy: make(), replicas: start });
      const leases = times(25, () => bench.take());
      const before = counted(leases.map((l) => l.id));
      bench.resize(['f', 'e', 'a', 'c']);
      for (const id of ['e', 'a', 'c']) {
        expect(bench.picker.view.inflight[bench.picker.indexOf(id)!]).toBe(before[id] ?? 0);
      }
      expect(bench.picker.view.inflight[bench.picker.indexOf('f')!]).toBe(0);
      for (const { lease } of leases) bench.picker.settle(lease, 'ok');
      expect(bench.picker.live).toBe(0);
      expect([...bench.picker.view.inflight]).toEqual([0, 0, 0, 0]);
      expect(bench.faults).toEqual([]);
    });

    it('learns nothing from a cancelled request', () => {
      fc.assert(
        fc.property(
          steps(false),
          fc.integer(),
          fc.array(fc.nat(4), { minLength: 60, maxLength: 60 }),
          (script, seed, victims) => {
            const plain = play(benchOf({ strategy: make(), replicas: start, seed }), script);
            const bench = benchOf({ strategy: make(), replicas: start, seed });
            const disturbed = play(bench, script, (at) => {
              const lease = bench.picker.lease(victims[at]!);
              bench.picker.settle(lease, at % 2 === 0 ? 'cancelled' : 'refused');
            });
            expect(disturbed).toEqual(plain);
          },
        ),
        { numRuns: 60 },
      );
    });

    it('survives a snapshot', () => {
      const bench = benchOf({ strategy: make(), replicas: start });
      for (let i = 0; i < 40; i++)
        bench.call(1 + (i % 7), i % 5 === 0 ? 'timeout' : 'ok', { key: i * 7_919 });
      const snapshot = bench.picker.snapshot();
      if (snapshot === undefined) return;
      const kept = JSON.parse(JSON.stringify(snapshot)) as typeof snapshot;
      const next = benchOf({ strategy: make(), replicas: ['e', 'b', 'f'], picker: { resume: kept } });
      for (let i = 0; i < 40; i++) next.call(3, 'ok', { key: i });
      expect(next.faults).toEqual([]);
    });

    if (traits.keyed) {
      it('gives a key to the same replica however they are ordered', () => {
        fc.assert(
          fc.property(
            fc.shuffledSubarray(NAMES, { minLength: 7 }),
            fc.integer({ min: 0, max: 0xffffffff }),
            (ids, key) => {
              const one = benchOf({ strategy: make(), replicas: NAMES }).take({ key }).id;
              const other = benchOf({ strategy: make(), replicas: ids, seed: 99 }).take({ key }).id;
              expect(other).toBe(one);
            },
          ),
          { numRuns: 100 },
        );
      });
    }

    if (!traits.ordered) {
      it('has no favourite index: alike replicas get alike shares', () => {
        for (const ids of [start, start.toReversed()]) {
          const bench = benchOf({ strategy: make(), replicas: ids, seed: 7 });
          const shares = counted(times(5_000, () => bench.call(5)));
          // 0.2 ± 6 standard deviations of a fair draw.
          for (const id of start) expect(Math.abs((shares[id] ?? 0) / 5_000 - 0.2)).toBeLessThan(0.034);
        }
      });
    }
  });
}
