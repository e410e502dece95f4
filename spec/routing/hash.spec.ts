import { describe, expect, it } from '@jest/globals';
import { hash32, hash64, mix32, score32 } from '../../lib/routing/hash.ts';
import { times } from './bench.ts';

describe('hashes', () => {
  it('never change: keys must stay where they are over releases', () => {
    expect(hash32('')).toBe(mix32(0x811c9dc5));
    expect([hash32('search#0'), hash32('search#1'), hash32('größe'), score32(1, 2)]).toMatchInlineSnapshot(`
[
  616425686,
  2276823553,
  419985943,
  825666927,
]
`);
    expect(hash64('search#0')).toMatch(/^[0-9a-f]{16}$/);
  });

  it('are unsigned 32-bit numbers', () => {
    for (const h of times(1_000, (i) => score32(hash32(`k${i}`), hash32(`r${i % 7}`)))) {
      expect(Number.isInteger(h) && h >= 0 && h <= 0xffffffff).toBe(true);
    }
  });

  it('spread similar texts over all bits', () => {
    const ones = Array.from({ length: 32 }, () => 0);
    times(2_000, (i) => hash32(`search#${i}`)).forEach((h) => {
      for (let bit = 0; bit < 32; bit++) ones[bit] = ones[bit]! + ((h >>> bit) & 1);
    });
    // ½ ± 6 standard deviations.
    for (const count of ones) expect(Math.abs(count - 1_000)).toBeLessThan(135);
    expect(new Set(times(20_000, (i) => hash64(`k${i}`))).size).toBe(20_000);
  });
});
