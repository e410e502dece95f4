import { describe, expect, it } from '@jest/globals';
import { compare } from '../../../benchmarks/lab/compare.ts';
import { replay } from '../../../benchmarks/lab/replay.ts';
import { simulate, simulateInTurns } from '../../../benchmarks/lab/simulate.ts';
import { exponential, poisson } from '../../../benchmarks/lab/sizes.ts';
import { strictPicker } from '../../../benchmarks/lab/strict-picker.ts';
import { underTest, withMembers } from '../../../benchmarks/lab/strategy-under-test.ts';
import { simulateEngine } from '../../../benchmarks/lab/through-engine.ts';
import type { PickCtx, RoutingStrategy } from '../../../lib/routing/strategy.ts';

const UNLIKE = ['round-robin', 'least-outstanding', 'ewma-least-outstanding', 'random', 'rendezvous'];

/** Takes turns, by a private field. */
class Turns implements RoutingStrategy<null> {
  readonly name = 'turns';
  #next = 0;

  init(): null {
    return null;
  }

  pick(_: null, { candidates }: PickCtx): number {
    return candidates[this.#next++ % candidates.length]!;
  }
}

const scenario = (strategy: () => RoutingStrategy) => ({
  servers: [{}, {}, {}],
  strategy,
  size: exponential(10),
  gaps: poisson(0.1),
  requests: 200,
});

describe('a strategy under test', () => {
  it('is asked itself where requests have keys', () => {
    const { strategies } = compare({
      workload: 'zipf',
      replicas: 4,
      strategies: UNLIKE,
      requests: 500,
      seeds: [1],
    });
    expect(new Set(strategies.map((s) => s.logHashes[0])).size).toBe(UNLIKE.length);
  });

  it('is asked itself where a trace has keys', () => {
    const trace = Array.from({ length: 300 }, (_, i) => ({ at: i * 3, size: 8, key: i % 7 }));
    const { strategies } = replay({ trace, replicas: 4, slots: 1, strategies: UNLIKE });
    expect(new Set(strategies.map((s) => s.logHashes[0])).size).toBe(UNLIKE.length);
  });

  it('may be a class with private fields, keyed or renamed', async () => {
    const keyed = { ...scenario(() => new Turns()), keys: () => 5 };
    const alone = simulate(keyed, 1);
    for (const share of alone.shares) expect(share).toBeCloseTo(1 / 3, 1);
    expect((await simulateEngine(keyed, 1)).logHash).toBe(alone.logHash);
    expect(withMembers(new Turns(), { name: 'other' }).name).toBe('other');
  });

  it('stays what it is where it looks at keys', () => {
    const keyed = withMembers(new Turns(), { keyed: true });
    expect(underTest(keyed)).toBe(keyed);
    expect(underTest(new Turns()).keyed).toBe(true);
  });
});

describe('a strategy that fails', () => {
  const throwing = (): RoutingStrategy =>
    withMembers(new Turns(), {
      pick: () => {
        throw new Error('boom');
      },
    });
  const nonsense = (): RoutingStrategy => withMembers(new Turns(), { pick: () => 99 });

  it.each([
    ['throws', throwing, /boom/],
    ['picks nobody', nonsense, /picked 99/],
  ])('is not measured as least outstanding: %s', async (_, strategy, message) => {
    expect(() => simulate(scenario(strategy), 1)).toThrow(message);
    await expect(simulateInTurns({ ...scenario(strategy), layers: () => [] }, 1)).rejects.toThrow(message);
    await expect(simulateEngine(scenario(strategy), 1)).rejects.toThrow(message);
    expect(() =>
      compare({ workload: 'poisson', replicas: 2, strategies: { strategy }, requests: 50 }),
    ).toThrow(message);
    const picker = strictPicker({
      strategy: strategy(),
      replicas: [{ id: 'a', availability: 'usable' }],
      random: () => 0,
      clock: { now: () => 0 },
    });
    expect(() => picker.pick({ attempt: 1, tried: [], operation: 'read' })).toThrow(message);
  });
});
