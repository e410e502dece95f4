import { describe, expect, it } from '@jest/globals';
import { type CompareOptions, compare } from '../../../benchmarks/lab/compare.ts';
import { type ReplayOptions, replay } from '../../../benchmarks/lab/replay.ts';
import { constant, poisson } from '../../../benchmarks/lab/sizes.ts';
import { UsageError } from '../../../benchmarks/lab/usage-error.ts';
import type { RoutingStrategy } from '../../../lib/routing/strategy.ts';

const first = (): RoutingStrategy<null> => ({
  name: 'first',
  init: () => null,
  pick: (_, c) => c.candidates[0]!,
});

describe('compare', () => {
  it('recommends what is better, names the worst and draws both', () => {
    const c = compare({
      workload: 'poisson',
      replicas: 3,
      strategies: { good: 'least-outstanding', mine: first },
      requests: 2_000,
      seeds: [1, 2],
    });
    expect(c.recommendation).toMatch(
      /^Use good: p99 .* 100\.00 % answered\. mine cannot keep up: its latencies grew [\d.]+-fold/,
    );
    expect(c.svg).toMatch(/^<svg .*good<\/text>.*mine<\/text>.*<\/svg>\n$/s);
    expect(c.table.split('\n')).toHaveLength(4);
    expect(c.strategies[0]).toMatchObject({ failed: 0, late: 0, rejected: 0, wasted: 0 });
    expect(c.strategies[0]!.logHashes).toHaveLength(2);
    expect(c.strategies[0]!.busyMs).toBeCloseTo(c.strategies[1]!.busyMs, 6);
  });

  it('names the worst of those that keep up', () => {
    const c = compare({
      workload: 'poisson',
      replicas: 5,
      strategies: [' least-outstanding ', 'random'],
      requests: 10_000,
      seeds: [1, 2],
    });
    expect(c.recommendation).toMatch(/^Use least-outstanding: .*random has a p99 [\d.]+ times as high/);
  });

  it('says so where nobody can keep up', () => {
    const workload = {
      about: 'twice the capacity',
      of: (n: number) => ({
        servers: Array.from({ length: n }, () => ({})),
        size: constant(10),
        gaps: poisson(n / 5),
        requests: 2_000,
      }),
    };
    const c = compare({ workload, replicas: 2, strategies: ['p2c', 'random'], seeds: [1] });
    expect(c.recommendation).toMatch(/^The load is more than these servers can do/);
    expect(c.recommendation).toMatch(/p2c cannot keep up.*random cannot keep up/);
  });

  it('speaks of time only where there is a deadline', () => {
    const of = (workload: string): string =>
      compare({ workload, replicas: 2, strategies: ['p2c'], seeds: [1] }).recommendation;
    expect(of('dip')).toContain('answered in time');
    expect(of('constant')).not.toContain('in time');
  });

  it('gives the same numbers for the same seeds', () => {
    const options = {
      workload: 'zipf',
      replicas: 2,
      strategies: ['rendezvous-p2c', 'prequal'],
      requests: 500,
      seeds: [1],
    };
    const [a, b] = [compare(options), compare(options)];
    expect(b.strategies.map((s) => s.logHashes)).toEqual(a.strategies.map((s) => s.logHashes));
  });

  it('passes over a fast one that loses requests', () => {
    const c = compare({
      workload: 'black-hole',
      replicas: 4,
      strategies: { hole: first, safe: 'ewma-least-outstanding' },
      requests: 3_000,
      seeds: [1],
    });
    expect(c.recommendation).toMatch(/^Use safe:.*Passed over because fewer requests were answered: hole/);
  });

  it.each<[string, Partial<CompareOptions>]>([
    ['zero replicas', { replicas: 0 }],
    ['NaN replicas', { replicas: NaN }],
    ['no requests', { requests: 0 }],
    ['NaN requests', { requests: NaN }],
    ['fewer than no requests', { requests: -1 }],
    ['half a client', { clients: 0.5 }],
    ['no seeds', { seeds: [] }],
    ['NaN as a seed', { seeds: [NaN] }],
    ['no strategies', { strategies: {} }],
  ])('refuses %s', (_, more) => {
    const options = { workload: 'poisson', replicas: 2, strategies: ['p2c'], requests: 10, ...more };
    expect(() => compare(options)).toThrow(UsageError);
  });
});

describe('replay', () => {
  it('runs the recorded arrivals', () => {
    const trace = Array.from({ length: 100 }, (_, i) => ({ at: i * 5, size: 8 }));
    const { strategies } = replay({
      trace,
      replicas: 2,
      slots: 1,
      strategies: ['least-outstanding', 'round-robin'],
    });
    // 8 ms of work every 5 ms on two replicas: nobody has to wait.
    expect(strategies.map((s) => s.mean)).toEqual([8, 8]);
  });

  it('has as many slots and the speeds that it is given', () => {
    const trace = Array.from({ length: 100 }, (_, i) => ({ at: i * 10, size: 18 }));
    const mean = (more: Pick<ReplayOptions, 'slots' | 'speeds'>): number =>
      replay({ trace, replicas: 1, strategies: ['p2c'], ...more }).strategies[0]!.mean;
    expect(mean({ slots: 2 })).toBe(18);
    expect(mean({ slots: 1 })).toBeGreaterThan(400);
    expect(mean({ slots: 1, speeds: [2] })).toBe(9);
  });

  const good = [{ at: 1, size: 1 }];
  it.each<[string, Partial<ReplayOptions>, string]>([
    ['an unsorted trace', { trace: [{ at: 2, size: 1 }, ...good] }, 'not sorted'],
    ['no trace', { trace: [] }, 'no requests'],
    ['NaN in a trace', { trace: [{ at: NaN, size: 1 }] }, 'entry 1'],
    ['a negative size', { trace: [...good, { at: 2, size: -1 }] }, 'entry 2'],
    ['an endless size', { trace: [{ at: 0, size: Infinity }] }, 'entry 1'],
    ['no slots', { slots: undefined as unknown as number }, '--slots is missing'],
    ['too few slots', { slots: 0 }, 'a trace does not say'],
    ['speeds for others', { speeds: [1, 1] }, '2 numbers for 1 replicas'],
    ['a speed of zero', { speeds: [0] }, 'above 0'],
  ])('refuses %s', (_, more, message) => {
    const options = { trace: good, replicas: 1, slots: 1, strategies: ['p2c'], ...more };
    expect(() => replay(options)).toThrow(UsageError);
    expect(() => replay(options)).toThrow(message);
  });
});
