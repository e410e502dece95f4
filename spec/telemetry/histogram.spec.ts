import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createHistogram } from '../../lib/telemetry/histogram.ts';

const WORST = 2 ** (1 / 8);

describe('the histogram', () => {
  it('knows nothing before the first sample', () => {
    expect(createHistogram(1_000).quantile(0.5, 0)).toBeUndefined();
  });

  it('gives quantiles at most 9 % above the true ones, and never below', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.002, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (samples, q) => {
          const histogram = createHistogram(1_000);
          for (const sample of samples) histogram.record(sample, 0);
          const sorted = samples.toSorted((a, b) => a - b);
          const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] ?? NaN;
          const ratio = (histogram.quantile(q, 0) ?? NaN) / exact;
          expect(ratio).toBeGreaterThan(1 - 1e-9);
          expect(ratio).toBeLessThan(WORST + 1e-9);
        },
      ),
    );
  });

  it('counts what is out of range at the ends, and no NaN', () => {
    const histogram = createHistogram(1_000);
    histogram.record(NaN, 0);
    expect(histogram.quantile(1, 0)).toBeUndefined();
    histogram.record(0, 0);
    expect(histogram.quantile(1, 0)).toBeCloseTo(0.001);
    histogram.record(Infinity, 0);
    expect(histogram.quantile(1, 0)).toBeCloseTo(0.001 * 2 ** 32);
  });

  it('forgets after one to two windows', () => {
    const histogram = createHistogram(1_000);
    histogram.record(5, 0);
    expect(histogram.quantile(1, 1_999)).toBeGreaterThanOrEqual(5);
    histogram.record(1, 1_500);
    expect(histogram.quantile(1, 2_000)).toBeLessThan(2);
    expect(histogram.quantile(1, 60_000)).toBeUndefined();
  });
});
