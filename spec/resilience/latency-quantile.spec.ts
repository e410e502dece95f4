import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createLatencyQuantile } from '../../lib/resilience/latency-quantile.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

describe('latency quantile', () => {
  it('is unknown before enough was seen', () => {
    const p95 = createLatencyQuantile({ clock: createVirtualClock(), quantile: 0.95, minSamples: 20 });
    for (let i = 1; i < 20; i++) p95.add(i);
    expect(p95.value).toBeUndefined();
    p95.add(20);
    expect(p95.value).toBe(19);
  });

  it('is renewed every 3 s and forgets all but the last 256', async () => {
    const clock = createVirtualClock();
    const p50 = createLatencyQuantile({ clock, quantile: 0.5, minSamples: 1 });
    p50.add(10);
    expect(p50.value).toBe(10);
    for (let i = 0; i < 256; i++) p50.add(500);
    expect(p50.value).toBe(10);
    await clock.advance(3_000);
    expect(p50.value).toBe(500);
  });

  it('is a sample with at least the share q at or below it', () => {
    const property = fc.property(
      fc.array(fc.nat(10_000), { minLength: 1, maxLength: 256 }),
      fc.double({ min: 0.5, max: 0.999, noNaN: true }),
      (samples, quantile) => {
        const estimate = createLatencyQuantile({ clock: createVirtualClock(), quantile, minSamples: 1 });
        for (const sample of samples) estimate.add(sample);
        const { value } = estimate;
        if (value === undefined || !samples.includes(value)) return false;
        const atOrBelow = samples.filter((sample) => sample <= value).length;
        const below = samples.filter((sample) => sample < value).length;
        return atOrBelow >= quantile * samples.length && below < quantile * samples.length + 1e-9;
      },
    );
    expect(() => fc.assert(property)).not.toThrow();
  });
});
