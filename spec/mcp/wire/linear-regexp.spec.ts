import { describe, it, expect } from '@jest/globals';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { createLinearRegExp, expandedSize } from '../../../lib/mcp/wire/linear-regexp.ts';
import { createWorkBudget } from '../../../lib/mcp/wire/work-budget.ts';

describe('createLinearRegExp', () => {
  const make = (pattern: string, left = 1e9): { test(text: string): boolean } => {
    const budget = createWorkBudget();
    budget.left = left;
    return createLinearRegExp(budget, 4_000)(pattern);
  };

  it.each([
    ['^a', 'ab', true],
    ['b', 'abc', true],
    ['^[^x]$', 'é', true],
    ['^\\d{4}-\\d{2}$', '2026-07', true],
    ['^(?<year>\\d+)$', '12', true],
    ['^https?:\\/\\/', 'http://x', true],
    ['^\\u00e9$', 'é', true],
    ['^[\\w.-]+@[\\w.-]+$', 'a@b', true],
    ['^\\S+$', 'a b', false],
    ['^$', '', true],
  ])('%s on %j is %s, as in JavaScript', (pattern, text, expected) => {
    expect(new RegExp(pattern, 'u').test(text)).toBe(expected);
    expect(make(pattern).test(text)).toBe(expected);
  });

  it('gives up when the work is spent', () => {
    const pattern = make('^(a+)+$', 10_000);
    expect(pattern.test('aa')).toBe(true);
    expect(() => pattern.test('a'.repeat(1_000))).toThrow('too long');
  });

  it('counts all patterns of a schema together', () => {
    const engine = createLinearRegExp(createWorkBudget(), 100);
    engine('a'.repeat(60));
    expect(() => engine('b'.repeat(60))).toThrow('more than 100 instructions');
  });
});

describe('expandedSize', () => {
  it('is never below what RE2 makes of a pattern, but for its few fixed instructions', () => {
    const atom = fc.constantFrom('a', '[a-z]', '\\d', '.', '(?:b)', '[^\\]]');
    const quantifier = fc.constantFrom('', '', '*', '+', '?', '{3}', '{0,7}', '{2,}', '{1,30}');
    const pattern = fc.letrec<{ p: string }>((tie) => ({
      p: fc.oneof(
        { depthSize: 'small' },
        fc.tuple(atom, quantifier).map(([a, q]) => a + q),
        fc.tuple(tie('p'), tie('p')).map(([a, b]) => a + b),
        fc.tuple(tie('p'), quantifier).map(([a, q]) => `(${a})${q}`),
        fc.tuple(tie('p'), tie('p')).map(([a, b]) => `(?:${a}|${b})`),
      ),
    })).p;
    const compiledSize = (text: string): number => {
      try {
        return RE2JS.compile(text).programSize();
      } catch {
        return 0;
      }
    };
    fc.assert(
      fc.property(pattern, (text) => {
        // Each repetition and each alternative takes a branch beside its parts.
        expect(compiledSize(text)).toBeLessThanOrEqual(3 * expandedSize(text) + 10);
      }),
      { numRuns: 100 },
    );
  });
});
