import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { endOfNest, endOfString, exceedsDepth } from '../../../lib/mcp/wire/depth.ts';

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe('exceedsDepth', () => {
  it.each([
    [nested(100), 100, false],
    [nested(101), 100, true],
    [`{"a":${nested(99)}}`, 100, false],
    [`{"a":${nested(100)}}`, 100, true],
    [`{"a":"${'['.repeat(500)}"}`, 100, false],
    [`{"a":"${'\\"['.repeat(500)}"}`, 100, false],
    [`{"a":"x\\\\","b":${nested(200)}}`, 100, true],
    [`[${'{},'.repeat(1000)}{}]`, 100, false],
    ['['.repeat(500), 100, true],
    [`"${'['.repeat(500)}`, 100, false],
    ['', 0, false],
    ['1', 0, false],
    ['[]', 0, true],
  ])('judges %.40s at limit %d: %s', (text, limit, expected) => {
    expect(exceedsDepth(text, limit)).toBe(expected);
  });

  it('agrees with the parsed value for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.integer({ min: 0, max: 8 }), (value, limit) => {
        expect(exceedsDepth(JSON.stringify(value), limit)).toBe(depthOf(value) > limit);
      }),
    );
  });

  it('takes linear time on strings full of escapes and quotes', () => {
    const time = (size: number): number => {
      const text = `[${nested(50)},"${'\\\\\\"'.repeat(size)}"]`;
      const start = performance.now();
      expect(exceedsDepth(text, 60)).toBe(false);
      expect(exceedsDepth(text, 20)).toBe(true);
      expect(endOfNest(text, 0)).toBe(text.length - 1);
      return performance.now() - start;
    };
    time(10_000);
    // Quadratic time would be a factor of 400.
    expect(time(2_000_000)).toBeLessThan(Math.max(500, 100 * time(100_000)));
  });
});

describe('endOfString', () => {
  it('finds the quote that closes any JSON string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (content, rest) => {
        const written = JSON.stringify(content);
        expect(endOfString(written + rest, 0)).toBe(written.length - 1);
      }),
    );
  });

  it('says so when the text ends within the string', () => {
    expect(endOfString('"abc', 0)).toBe(-1);
    expect(endOfString('"abc\\"', 0)).toBe(-1);
  });
});
