import { describe, expect, it } from '@jest/globals';
import { compare } from '../../../benchmarks/lab/compare.ts';
import { replay } from '../../../benchmarks/lab/replay.ts';
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
    expect(c.recommendation).toMatch(/^Use good: p99 .*mine has a p99 [\d.]+ times as high/);
    expect(c.svg).toMatch(/^<svg .*good<\/text>.*mine<\/text>.*<\/svg>\n$/s);
    expect(c.table.split('\n')).toHaveLength(4);
    expect(c.strategies[0]!.logHashes).toHaveLength(2);
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

  it('refuses zero replicas', () => {
    expect(() => compare({ workload: 'poisson', replicas: 0, strategies: ['p2c'] })).toThrow(UsageError);
  });
});

describe('replay', () => {
  it('runs the recorded arrivals', () => {
    const trace = Array.from({ length: 100 }, (_, i) => ({ at: i * 5, size: 8 }));
    const { strategies } = replay({ trace, replicas: 2, strategies: ['least-outstanding', 'round-robin'] });
    // 8 ms of work every 5 ms on two replicas: nobody has to wait.
    expect(strategies.map((s) => s.mean)).toEqual([8, 8]);
  });

  it('refuses an unsorted trace', () => {
    const trace = [
      { at: 2, size: 1 },
      { at: 1, size: 1 },
    ];
    expect(() => replay({ trace, replicas: 1, strategies: ['p2c'] })).toThrow('not sorted');
  });
});
