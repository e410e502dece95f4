import { describe, expect, it } from '@jest/globals';
import { giveBack, spareBytes } from '../../lib/mcp/spare-bytes.ts';

describe('spare bytes', () => {
  it('are used again where they are large enough', () => {
    const first = spareBytes(100_000);
    expect(first.length).toBeGreaterThanOrEqual(100_000);
    giveBack(first);
    expect(spareBytes(first.length + 1)).not.toBe(first);
    const second = spareBytes(100_000);
    giveBack(second);
    expect(spareBytes(50_000)).toBe(second);
    giveBack(second);
    // A small message must not hold a large buffer.
    expect(spareBytes(24_000)).not.toBe(second);
  });

  it('are not kept where they are small, very large or many', () => {
    const small = spareBytes(1_000);
    giveBack(small);
    expect(spareBytes(1_000)).not.toBe(small);
    const large = spareBytes(2_097_153);
    giveBack(large);
    expect(spareBytes(2_097_153)).not.toBe(large);
    const many = Array.from({ length: 5 }, () => Buffer.allocUnsafe(1_048_576));
    for (const bytes of many) giveBack(bytes);
    const kept = new Set(many.map(() => spareBytes(1_048_576)));
    // The oldest has gone.
    expect(many.map((bytes) => kept.has(bytes))).toEqual([false, true, true, true, true]);
  });
});
