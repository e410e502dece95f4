import type { Availability } from '../../lib/core/availability.ts';
import type { Outcome } from '../../lib/core/outcome.ts';
import { seededRandom } from '../../lib/core/ports.ts';
import type { Lease } from '../../lib/routing/load-meter.ts';
import { createOutlierDetector, type OutlierOptions } from '../../lib/routing/outlier.ts';
import { createPicker, type Picker, type PickerOptions, type PickResult } from '../../lib/routing/picker.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';

export interface BenchReplica {
  id: string;
  availability: Availability;
  slots?: number;
  weight?: number;
  tier?: number;
  load?: { inFlight: number; queued: number };
}

export interface BenchOptions {
  readonly strategy: RoutingStrategy;
  /** Ids, or how many (`r0`, `r1`, …). */
  readonly replicas: number | readonly (string | (Partial<BenchReplica> & { readonly id: string }))[];
  readonly seed?: number;
  readonly outlier?: OutlierOptions;
  readonly picker?: Partial<PickerOptions<BenchReplica>>;
}

/** A picker over replicas that exist only on paper, in a time that moves by hand. */
export interface Bench {
  readonly picker: Picker;
  readonly replicas: BenchReplica[];
  readonly faults: string[];
  now: number;
  pick(query?: { key?: number; tried?: readonly string[]; only?: number }): PickResult;
  /** Picks and leases; fails unless something was picked. */
  take(query?: { key?: number; tried?: readonly string[] }): { readonly id: string; readonly lease: Lease };
  /** Picks, lets `ms` pass and settles; returns who it was. */
  call(ms: number, outcome?: Outcome, query?: { key?: number }): string;
  resize(ids: readonly string[]): void;
}

export function benchOf(options: BenchOptions): Bench {
  const { strategy, seed = 12_345, outlier } = options;
  const list =
    typeof options.replicas === 'number'
      ? Array.from({ length: options.replicas }, (_, i) => `r${i}`)
      : options.replicas;
  const replicas = list.map((r): BenchReplica => ({
    availability: 'usable',
    ...(typeof r === 'string' ? { id: r } : r),
  }));
  const faults: string[] = [];
  const bench: Bench = {
    now: 1_000,
    replicas,
    faults,
    picker: createPicker<BenchReplica>({
      strategy,
      replicas,
      random: seededRandom(seed),
      clock: { now: () => bench.now },
      server: 'bench',
      onFault: (error) => faults.push(error.message),
      outlier:
        outlier === undefined
          ? undefined
          : createOutlierDetector(
              replicas.map((r) => r.id),
              outlier,
            ),
      ...options.picker,
    }),
    pick: ({ key, tried = [], only } = {}) =>
      bench.picker.pick({ attempt: tried.length + 1, tried, operation: 'unsafe' }, key, only),
    take(query) {
      const result = bench.pick(query);
      if (result.kind !== 'picked') throw new Error(`nothing was picked: ${result.kind}`);
      return { id: result.id, lease: bench.picker.lease(result.index) };
    },
    call(ms, outcome = 'ok', query) {
      const { id, lease } = bench.take(query);
      bench.now += ms;
      bench.picker.settle(lease, outcome);
      return id;
    },
    resize(ids) {
      const before = new Map(replicas.map((r) => [r.id, r]));
      const next = ids.map((id): BenchReplica => before.get(id) ?? { id, availability: 'usable' });
      replicas.splice(0, replicas.length, ...next);
      bench.picker.resize(replicas);
    },
  };
  return bench;
}

export function counted(ids: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const id of ids) counts[id] = (counts[id] ?? 0) + 1;
  return counts;
}

export function times<T>(n: number, make: (i: number) => T): T[] {
  return Array.from({ length: n }, (_, i) => make(i));
}

/** Mean largest bin when `balls` are thrown, averaged over `rounds`. Nothing is ever settled. */
export function meanFullestBin(
  make: () => RoutingStrategy,
  bins: number,
  balls: number,
  rounds: number,
): number {
  let sum = 0;
  for (let round = 0; round < rounds; round++) {
    const bench = benchOf({ strategy: make(), replicas: bins, seed: round + 1 });
    for (let ball = 0; ball < balls; ball++) bench.take();
    sum += Math.max(...bench.picker.view.inflight);
  }
  return sum / rounds;
}

/** `rate` requests per second for `seconds`, each `serviceMs(id)` long; returns who got how many and how they ended. */
export function openLoop(
  bench: Bench,
  options: {
    readonly seconds: number;
    readonly rate: number;
    readonly end: (id: string, now: number) => { readonly ms: number; readonly outcome: Outcome };
    readonly random: () => number;
  },
): { readonly id: string; readonly at: number; readonly outcome: Outcome }[] {
  const ends: { at: number; lease: Lease; outcome: Outcome }[] = [];
  const log: { id: string; at: number; outcome: Outcome }[] = [];
  const stop = bench.now + options.seconds * 1_000;
  let next = bench.now;
  while (next < stop) {
    ends.sort((a, b) => a.at - b.at);
    while (ends.length > 0 && ends[0]!.at <= next) {
      const { at, lease, outcome } = ends.shift()!;
      bench.now = at;
      bench.picker.settle(lease, outcome);
    }
    bench.now = next;
    const { id, lease } = bench.take();
    const { ms, outcome } = options.end(id, next);
    ends.push({ at: next + ms, lease, outcome });
    log.push({ id, at: next, outcome });
    next += (-Math.log(1 - options.random()) * 1_000) / options.rate;
  }
  for (const { at, lease, outcome } of ends.sort((a, b) => a.at - b.at)) {
    bench.now = at;
    bench.picker.settle(lease, outcome);
  }
  return log;
}
