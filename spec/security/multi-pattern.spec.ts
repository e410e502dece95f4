import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createMultiPattern } from '../../lib/security/multi-pattern.ts';

const spans = (patterns: string[], text: string): number[] => createMultiPattern(patterns).spans(text);

describe('many patterns in one pass', () => {
  it.each<[string[], string, number[]]>([
    [['abc'], 'xxabcxx', [2, 5]],
    [['abc'], 'ab', []],
    [['abc', 'cde'], 'abcde', [0, 5]],
    [['abc', 'def'], 'abcdef', [0, 6]],
    [['abcd', 'bc'], 'xbcx abcd', [1, 3, 5, 9]],
    [['bc', 'abcde'], 'abcdx', [1, 3]],
    [['aa'], 'aaaa', [0, 4]],
    [['ü→', 'né'], 'ü→ né', [0, 2, 3, 5]],
    [[], 'abc', []],
    [['he', 'she', 'hers'], 'ushers', [1, 6]],
  ])('%j in %s', (patterns, text, expected) => {
    expect(spans(patterns, text)).toEqual(expected);
  });

  it('finds what a search for each pattern finds', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 5 }),
        fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 20 }),
        (patterns, text) => {
          const covered = Array.from(text, () => false);
          for (const pattern of patterns) {
            for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1))
              covered.fill(true, at, at + pattern.length);
          }
          const found = Array.from(text, () => false);
          const pairs = spans(patterns, text);
          for (let i = 0; i < pairs.length; i += 2) found.fill(true, pairs[i], pairs[i + 1]);
          expect(found).toEqual(covered);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
