import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from '../../lib/catalog/canonical-json.ts';

describe('canonicalJson', () => {
  it('does not depend on the order of keys', () => {
    expect(canonicalJson({ b: 1, a: { d: [1, { z: 0, y: 0 }], c: null } })).toBe(
      '{"a":{"c":null,"d":[1,{"y":0,"z":0}]},"b":1}',
    );
  });

  it('is JSON of the same value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) =>
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value))),
      ),
    );
  });

  it('treats what JSON has not as JSON does', () => {
    const odd = {
      a: undefined,
      b: () => 1,
      c: Symbol('x'),
      d: [undefined, () => 1, Number.NaN],
      e: Infinity,
    };
    expect(canonicalJson(odd)).toBe(JSON.stringify(odd));
    expect(canonicalJson(undefined)).toBe('null');
  });

  it('keeps keys that are properties of every object', () => {
    const value: unknown = JSON.parse('{"__proto__":{"x":1},"constructor":2}');
    expect(canonicalJson(value)).toBe('{"__proto__":{"x":1},"constructor":2}');
  });

  it('writes what contains itself, unlike any text that could be sent', () => {
    const loop: Record<string, unknown> = { a: 1 };
    loop['b'] = { loop };
    expect(canonicalJson(loop)).toBe('{"a":1,"b":{"loop":<up 2>}}');
    const shared = { x: 1 };
    expect(canonicalJson([shared, shared])).toBe('[{"x":1},{"x":1}]');
    expect(canonicalJson([1n, '<bigint 1>'])).toBe('[<bigint 1>,"<bigint 1>"]');
  });

  it('refuses monsters rather than compare half of them', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 1001; i += 1) deep = [deep];
    expect(() => canonicalJson(deep)).toThrow(/limit_exceeded.*1000 levels/);
    let wide: unknown = 1;
    for (let i = 0; i < 21; i += 1) wide = [wide, wide];
    expect(() => canonicalJson(wide)).toThrow(/limit_exceeded.*1000000 values/);
  });
});
