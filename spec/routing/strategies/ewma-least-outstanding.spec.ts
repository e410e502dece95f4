import { describe, expect, it } from '@jest/globals';
import { seededRandom } from '../../../lib/core/ports.ts';
import { ewmaLeastOutstanding } from '../../../lib/routing/strategies/ewma-least-outstanding.ts';
import { weightedLeastOutstanding } from '../../../lib/routing/strategies/weighted-least-outstanding.ts';
import { benchOf, counted, openLoop, times } from '../bench.ts';

describe('ewma-least-outstanding', () => {
  it('sends nothing to a replica that fails fast', () => {
    const share = (options: object): number => {
      const bench = benchOf({ strategy: ewmaLeastOutstanding(options), replicas: 10 });
      const log = openLoop(bench, {
        seconds: 20,
        rate: 400,
        random: seededRandom(3),
        end: (id) => (id === 'r0' ? { ms: 1, outcome: 'transport' } : { ms: 10, outcome: 'ok' }),
      });
      return log.filter(({ id }) => id === 'r0').length / log.length;
    };
    expect(share({})).toBeLessThan(0.002);
    // Without the penalty it is a black hole, as routing.md §0.2 says.
    expect(share({ penaltyMs: 0 })).toBeGreaterThan(0.9);
  });

  it('gives a replica that failed for a second its fair share back', () => {
    const bench = benchOf({ strategy: ewmaLeastOutstanding(), replicas: 5 });
    const sizes = seededRandom(5);
    const log = openLoop(bench, {
      seconds: 360,
      rate: 200,
      random: seededRandom(4),
      end: (id, now) =>
        id === 'r2' && now < 2_000
          ? { ms: 1, outcome: 'transport' }
          : { ms: -Math.log(1 - sizes()) * 10, outcome: 'ok' },
    });
    const after = log.filter(({ at }) => at > 61_000);
    const share = after.filter(({ id }) => id === 'r2').length / after.length;
    expect(share / 0.2).toBeGreaterThan(0.85);
    expect(share / 0.2).toBeLessThan(1.2);
  });

  it('recovers even when most of the pool had failed', () => {
    const bench = benchOf({ strategy: ewmaLeastOutstanding(), replicas: 5 });
    const sizes = seededRandom(6);
    const log = openLoop(bench, {
      seconds: 240,
      rate: 200,
      random: seededRandom(7),
      end: (id, now) =>
        id !== 'r0' && id !== 'r1' && now < 3_000
          ? { ms: 1, outcome: 'timeout' }
          : { ms: -Math.log(1 - sizes()) * 10, outcome: 'ok' },
    });
    const late = counted(log.filter(({ at }) => at > 121_000).map(({ id }) => id));
    const total = Object.values(late).reduce((sum, n) => sum + n, 0);
    for (const id of ['r0', 'r1', 'r2', 'r3', 'r4']) expect((late[id] ?? 0) / total).toBeGreaterThan(0.12);
  });

  it('costs next to nothing where a replica fails for ever', () => {
    const bench = benchOf({ strategy: ewmaLeastOutstanding(), replicas: 5 });
    const log = openLoop(bench, {
      seconds: 300,
      rate: 100,
      random: seededRandom(8),
      end: (id) => (id === 'r3' ? { ms: 5, outcome: 'transport' } : { ms: 20, outcome: 'ok' }),
    });
    const errors = log.filter(({ outcome }) => outcome !== 'ok').length / log.length;
    expect(errors).toBeLessThan(0.002);
    // It is asked again now and then, else nobody would learn of its recovery.
    expect(errors).toBeGreaterThan(0);
  });

  it('does not send everything to the first that answers', () => {
    const bench = benchOf({ strategy: ewmaLeastOutstanding(), replicas: 10 });
    let deepest = 0;
    openLoop(bench, {
      seconds: 1,
      rate: 700,
      random: seededRandom(9),
      end: () => {
        deepest = Math.max(deepest, ...bench.picker.view.inflight);
        return { ms: 10, outcome: 'ok' };
      },
    });
    // "Unknown counts as 0" had a queue of 32 here (routing.md §1.2).
    expect(deepest).toBeLessThanOrEqual(5);
  });

  it('loads a replica that is four times slower less', () => {
    const bench = benchOf({ strategy: ewmaLeastOutstanding(), replicas: 5 });
    const log = openLoop(bench, {
      seconds: 60,
      rate: 150,
      random: seededRandom(10),
      end: (id) => ({ ms: id === 'r4' ? 80 : 20, outcome: 'ok' }),
    });
    const counts = counted(log.map(({ id }) => id));
    expect(counts['r4']!).toBeLessThan(log.length * 0.1);
  });

  it('honours weights', () => {
    const bench = benchOf({
      strategy: ewmaLeastOutstanding(),
      replicas: [{ id: 'a', weight: 3 }, { id: 'b' }],
    });
    expect(counted(times(40, () => bench.take().id))).toEqual({ a: 30, b: 10 });
  });
});

describe('weighted-least-outstanding', () => {
  it('fills in proportion to the weights', () => {
    const bench = benchOf({
      strategy: weightedLeastOutstanding(),
      replicas: [
        { id: 'a', weight: 2 },
        { id: 'b', weight: 1 },
        { id: 'c', weight: 1 },
      ],
    });
    expect(counted(times(40, () => bench.take().id))).toEqual({ a: 20, b: 10, c: 10 });
  });
});
