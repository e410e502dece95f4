import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Json } from '../../lib/core/json-rpc.ts';
import { requestKey } from '../../lib/resilience/request-key.ts';
import { requestOf } from '../support/requests.ts';

const keyOf = (params: unknown, change = {}): string | undefined =>
  requestKey(requestOf({ params: params as Json, ...change }));

describe('request key', () => {
  it('does not depend on the order of properties, but on everything else', () => {
    expect(keyOf({ a: 1, b: { c: [1, 2], d: 'x' } })).toBe(keyOf({ b: { d: 'x', c: [1, 2] }, a: 1 }));
    expect(keyOf({ a: [1, 2] })).not.toBe(keyOf({ a: [2, 1] }));
    expect(keyOf({ a: 1 })).not.toBe(keyOf({ a: '1' }));
    expect(keyOf({ a: 1 })).not.toBe(keyOf({ a: 1 }, { server: 'beta' }));
    expect(keyOf({ a: 1 })).not.toBe(keyOf({ a: 1 }, { method: 'resources/read' }));
    expect(keyOf(undefined)).not.toBe(keyOf({ a: null }));
  });

  it('sees what JSON sees', () => {
    expect(keyOf({ a: undefined, b: 1 })).toBe(keyOf({ b: 1 }));
    expect(keyOf({ a: [undefined] })).toBe(keyOf({ a: [null] }));
    expect(keyOf({ a: new Date(0) })).toBe(keyOf({ a: '1970-01-01T00:00:00.000Z' }));
  });

  it('leaves out who follows the request, not what else the caller said', () => {
    expect(keyOf({ a: 1, _meta: { progressToken: 1, traceparent: 'x' } })).toBe(keyOf({ a: 1 }));
    expect(keyOf({ a: 1, _meta: { lang: 'de' } })).not.toBe(keyOf({ a: 1 }));
    expect(keyOf({ a: 1 }, { meta: { traceparent: 'x' } })).toBe(keyOf({ a: 1 }));
    expect(keyOf({ a: 1 }, { meta: { lang: 'de' } })).not.toBe(keyOf({ a: 1 }));
  });

  it('has no key for what is not JSON', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    expect(keyOf(cycle)).toBeUndefined();
    expect(keyOf({ a: 1n })).toBeUndefined();
  });

  it('two values have one key exactly when their JSON is equal up to order', () => {
    const sorted = (value: unknown): unknown => {
      if (typeof value !== 'object' || value === null) return value;
      if (Array.isArray(value)) return value.map(sorted);
      return Object.fromEntries(
        Object.entries(value)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([k, v]) => [k, sorted(v)]),
      );
    };
    const property = fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.dictionary(fc.string(), fc.jsonValue()),
      (a, b) => {
        delete a['_meta'];
        delete b['_meta'];
        const shuffled = Object.fromEntries(Object.entries(a).toReversed());
        const same = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
        return keyOf(a) === keyOf(shuffled) && (keyOf(a) === keyOf(b)) === same;
      },
    );
    expect(() => fc.assert(property)).not.toThrow();
  });
});
