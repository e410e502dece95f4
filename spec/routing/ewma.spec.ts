import { describe, expect, it } from '@jest/globals';
import { averaged, faded, peaked, remaining } from '../../lib/routing/ewma.ts';

describe('moving averages', () => {
  it.each([
    // V32: τ = 10 s, a sample of 100, idle for 1, 5, 10 s.
    [1_000, 90.484],
    [5_000, 60.653],
    [10_000, 36.788],
  ])('after %i ms of silence %d of 100 are left', (idle, left) => {
    expect(faded(100, 0, idle, 10_000)).toBeCloseTo(left, 3);
  });

  it('has no seam where the series takes over from exp', () => {
    for (const x of [0, 0.000_1, 0.005, 0.009_999, 0.01, 0.010_001]) {
      expect(Math.abs(remaining(x * 10_000, 10_000) - Math.exp(-x))).toBeLessThan(2e-7);
    }
    expect(remaining(-5, 10_000)).toBe(1);
    expect(remaining(Infinity, 10_000)).toBe(0);
  });

  it('forgets everything before the first sample', () => {
    expect(averaged(30, 7, Infinity, 10_000)).toBe(7);
  });

  it('a larger sample replaces the peak, a smaller one is averaged in', () => {
    expect(peaked(100, 101, 1, 10_000)).toBe(101);
    expect(peaked(100, 0, 10_000, 10_000)).toBeCloseTo(36.788, 3);
  });
});
