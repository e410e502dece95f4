import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { hash32, score32 } from '../../../lib/routing/hash.ts';
import { boundedRendezvous } from '../../../lib/routing/strategies/bounded-rendezvous.ts';
import { benchOf, times } from '../bench.ts';

const IDS = times(100, (i) => `r${i}`);
const KEYS = times(10_000, (k) => hash32(`key ${k}`));

/** The replica of the highest score for each key, as the paper's first choice. */
function firstChoices(): readonly string[] {
  const hashes = IDS.map((id) => hash32(id));
  return KEYS.map((key) => {
    let best = 0;
    let highest = -1;
    hashes.forEach((hash, i) => {
      const score = score32(key, hash);
      if (score > highest) [best, highest] = [i, score];
    });
    return IDS[best]!;
  });
}

describe('bounded-rendezvous', () => {
  it.each([
    // V29, m = 10 000 keys over n = 100: cap and share of keys on their first choice.
    [110, 0.9905],
  ])('places a bulk of keys: nobody above %i, and a share of %d where it wants to be', (cap, firstShare) => {
    const wanted = firstChoices();
    const bench = benchOf({ strategy: boundedRendezvous({ epsilon: 0.001, minCap: cap }), replicas: IDS });
    const first = KEYS.filter((key, k) => bench.take({ key }).id === wanted[k]).length;
    expect(Math.max(...bench.picker.view.inflight)).toBe(cap);
    expect(Math.abs(first / KEYS.length - firstShare)).toBeLessThan(0.006);
  });

  it('is within its bound after every single request', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 12 }),
        fc.array(fc.nat(20), { minLength: 1, maxLength: 80 }),
        fc.constantFrom(0.1, 0.25, 1),
        (n, keys, epsilon) => {
          const bench = benchOf({ strategy: boundedRendezvous({ epsilon, minCap: 1 }), replicas: n });
          keys.forEach((key, at) => {
            bench.take({ key });
            expect(Math.max(...bench.picker.view.inflight)).toBeLessThanOrEqual(
              Math.ceil(((1 + epsilon) * (at + 1)) / n),
            );
          });
        },
      ),
    );
  });

  it('keeps few requests of a key together up to the smallest cap', () => {
    const bench = benchOf({ strategy: boundedRendezvous(), replicas: 8 });
    expect(new Set(times(4, () => bench.take({ key: 77 }).id)).size).toBe(1);
    expect(bench.take({ key: 77 }).id).not.toBe(bench.replicas[bench.picker.view.inflight.indexOf(4)]!.id);
  });

  it('gives a heavier replica a higher cap', () => {
    const bench = benchOf({
      strategy: boundedRendezvous({ epsilon: 0.1, minCap: 1 }),
      replicas: [
        { id: 'a', weight: 3 },
        { id: 'b', weight: 1 },
      ],
    });
    for (let k = 0; k < 400; k++) bench.take({ key: hash32(`key ${k}`) });
    expect(bench.picker.view.inflight[1]).toBeLessThanOrEqual(110);
    expect(bench.picker.view.inflight[0]).toBeLessThanOrEqual(330);
  });
});
