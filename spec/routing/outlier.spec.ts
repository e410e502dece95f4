import { describe, expect, it } from '@jest/globals';
import { seededRandom } from '../../lib/core/ports.ts';
import {
  createOutlierDetector,
  type Ejection,
  lowestRate,
  type OutlierOptions,
} from '../../lib/routing/outlier.ts';
import { times } from './bench.ts';

function detectorOf(n: number, options: OutlierOptions = {}) {
  const ejections: Ejection[] = [];
  const detector = createOutlierDetector(
    times(n, (i) => `r${i}`),
    options,
    (ejection) => ejections.push(ejection),
  );
  const fail = (index: number, count: number, now: number): void => {
    for (let k = 0; k < count; k++) detector.observe(index, 'transport', now);
  };
  return { detector, ejections, fail };
}

describe('outlier detection', () => {
  it('ejects after five failures in a row, not after four and a good one', () => {
    const { detector, ejections, fail } = detectorOf(3);
    fail(0, 4, 0);
    detector.observe(0, 'tool-error', 0);
    fail(0, 4, 0);
    expect(ejections).toEqual([]);
    fail(0, 1, 0);
    expect(ejections).toEqual([{ id: 'r0', cause: 'consecutive', forMs: 30_000 }]);
    expect(detector.isEjected(0, 29_999)).toBe(true);
    expect(detector.isEjected(0, 30_000)).toBe(false);
    expect(detector.isEjected(1, 0)).toBe(false);
  });

  it('does not count what says nothing about the replica', () => {
    const { detector, ejections, fail } = detectorOf(3);
    fail(0, 4, 0);
    detector.observe(0, 'cancelled', 0);
    detector.observe(0, 'refused', 0);
    expect(ejections).toEqual([]);
    fail(0, 1, 0);
    expect(ejections).toHaveLength(1);
  });

  it('ejects for longer each time, up to 300 s, and forgives with time', () => {
    const { detector, ejections, fail } = detectorOf(4);
    let now = 0;
    for (let k = 0; k < 12; k++) {
      fail(1, 5, now);
      now += ejections.at(-1)!.forMs;
    }
    expect(ejections.map((e) => e.forMs / 1_000)).toEqual([
      30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300,
    ]);
    // Eight intervals in the pool: eight times less.
    for (let k = 0; k < 9; k++) detector.observe(1, 'ok', (now += 10_000));
    fail(1, 5, now);
    expect(ejections.at(-1)!.forMs).toBeLessThan(300_000);
  });

  it.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
    [10, 5],
  ])('of %i replicas ejects at most %i', (n, most) => {
    const { detector, fail } = detectorOf(n);
    for (let i = 0; i < n; i++) fail(i, 5, 0);
    expect(times(n, (i) => detector.isEjected(i, 1)).filter(Boolean)).toHaveLength(most);
  });

  it.each([
    // V22: k equally bad of n are found iff k/n < 1/(1 + 1.9²) = 0.217.
    [5, 1, true],
    [10, 2, true],
    [10, 3, false],
    [20, 4, true],
    [20, 5, false],
    [4, 1, false],
  ])('success rate: of %i replicas %i bad ones are found: %s', (n, bad, found) => {
    // Half of their requests fail, so neither a run nor the failure share finds them.
    const { detector, ejections } = detectorOf(n, { consecutive: Infinity });
    for (let k = 0; k < 40; k++) {
      for (let i = 0; i < n; i++) detector.observe(i, i < bad && k % 2 === 0 ? 'timeout' : 'ok', k * 100);
    }
    detector.observe(n - 1, 'ok', 10_001);
    expect(ejections.map((e) => e.id)).toEqual(found ? times(bad, (i) => `r${i}`) : []);
    expect(ejections.every((e) => e.cause === 'success-rate')).toBe(true);
    expect(lowestRate([1, 1, 1, 1, 0.5], 1.9)).toBeGreaterThan(0.5);
  });

  it('failure share: also in a pool of two', () => {
    const { detector, ejections } = detectorOf(2, { consecutive: Infinity });
    for (let k = 0; k < 40; k++) {
      detector.observe(0, k % 10 === 0 ? 'ok' : 'server-error', 0);
      detector.observe(1, 'ok', 0);
    }
    detector.observe(1, 'ok', 10_000);
    expect(ejections).toEqual([{ id: 'r0', cause: 'failure-share', forMs: 30_000 }]);
  });

  it('does not judge by a handful of requests', () => {
    const { detector, ejections } = detectorOf(6, { consecutive: Infinity });
    for (let k = 0; k < 19; k++)
      for (let i = 0; i < 6; i++) detector.observe(i, i === 0 ? 'timeout' : 'ok', 0);
    detector.observe(1, 'ok', 10_000);
    expect(ejections).toEqual([]);
  });

  it.each([
    // V34: expected calls until five in a row at failure rate p.
    [0.5, 62],
    [0.9, 6.94],
  ])('at a failure rate of %d it takes %d calls on average', (p, expected) => {
    const random = seededRandom(21);
    let calls = 0;
    for (let round = 0; round < 3_000; round++) {
      const { detector } = detectorOf(2, { intervalMs: Infinity });
      while (!detector.isEjected(0, 0)) {
        calls++;
        detector.observe(0, random() < p ? 'timeout' : 'ok', 0);
      }
    }
    expect(Math.abs(calls / 3_000 - expected)).toBeLessThan(expected * 0.08);
  });

  it('keeps the record of those that stay', () => {
    const { detector, fail } = detectorOf(3);
    fail(2, 5, 0);
    fail(1, 4, 0);
    detector.resize(['r2', 'new', 'r1']);
    expect(times(3, (i) => detector.isEjected(i, 1))).toEqual([true, false, false]);
    detector.observe(0, 'ok', 1);
    expect(detector.isEjected(7, 1)).toBe(false);
    expect(() => detector.observe(7, 'ok', 1)).not.toThrow();
  });
});
