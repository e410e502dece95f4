import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from '../../lib/catalog/canonical-json.ts';
import { sameJson } from '../../lib/catalog/same-json.ts';

const same = (a: unknown, b: unknown, left = 10_000): boolean => sameJson(a, b, { left });
const parsed = (text: string): unknown => JSON.parse(text) as unknown;

describe('sameJson', () => {
  it('is what canonical JSON says, whatever the order of the keys', () => {
    // Few values, so that two of them are often the same.
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(null, true, false, 0, 1, '', 'a'),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'b', '__proto__'), tie('any'), { maxKeys: 3 }),
      ),
    })).any;
    const shuffled = (of: unknown): unknown => {
      if (Array.isArray(of)) return of.map(shuffled);
      if (typeof of !== 'object' || of === null) return of;
      const entries = Object.entries(of)
        .toReversed()
        .map(([key, one]) => `${JSON.stringify(key)}:${JSON.stringify(shuffled(one))}`);
      return parsed(`{${entries.join(',')}}`);
    };
    fc.assert(
      fc.property(value, value, (one, two) => {
        const a = parsed(JSON.stringify(one));
        const b = parsed(JSON.stringify(two));
        expect(same(a, b)).toBe(canonicalJson(a) === canonicalJson(b));
        expect(same(a, shuffled(a))).toBe(true);
      }),
    );
  });

  it('takes keys of objects as they are, inherited ones as none', () => {
    expect(same(parsed('{"__proto__":1}'), parsed('{"__proto__":1}'))).toBe(true);
    expect(same(parsed('{"__proto__":1}'), parsed('{"__proto__":2}'))).toBe(false);
    expect(same({ toString: undefined }, { other: undefined })).toBe(false);
    expect(same([], {})).toBe(false);
    expect(same({}, [])).toBe(false);
  });

  it('knows nothing of what is shared, or is not JSON', () => {
    const shared = {};
    expect(same(shared, shared)).toBe(false);
    expect(same({ a: [shared] }, { a: [shared] })).toBe(false);
    expect(same({ at: new Date(1) }, { at: new Date(2) })).toBe(false);
    expect(same({ at: new Date(1) }, { at: new Date(1) })).toBe(false);
    expect(same(new Map([[1, 2]]), new Map([[1, 3]]))).toBe(false);
    expect(same({ a: 'x', b: null, c: 1 }, { c: 1, b: null, a: 'x' })).toBe(true);
  });

  it('gives up where it would take too long, or never end', () => {
    const one = Array.from({ length: 50 }, (_, i) => [i]);
    const other = Array.from({ length: 50 }, (_, i) => [i]);
    expect(same(one, other, 101)).toBe(true);
    expect(same(one, other, 100)).toBe(false);
    const round = (): unknown[] => {
      const cycle: unknown[] = [];
      cycle.push(cycle, cycle);
      return cycle;
    };
    expect(same(round(), round())).toBe(false);
    const nested = (levels: number): unknown => parsed('['.repeat(levels) + ']'.repeat(levels));
    expect(same(nested(100), nested(100))).toBe(true);
    expect(same(nested(101), nested(101))).toBe(false);
  });
});
