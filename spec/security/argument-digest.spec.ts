import { createSecretKey } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { digestOf } from '../../lib/security/argument-digest.ts';

const key = createSecretKey(Buffer.alloc(32, 7));
const shape = (value: unknown): string => digestOf(value, key).shape;

describe('what is kept of arguments', () => {
  it('is their shape', () => {
    expect(
      shape({ city: 'Berlin', days: 3, tags: ['a', 'b'], deep: { on: true, off: null }, none: [] }),
    ).toBe('{city:string,days:number,tags:[string ×2],deep:{on:boolean,off:null},none:[]}');
    expect(shape(undefined)).toBe('undefined');
  });

  it('never holds a value', () => {
    const { hmac, shape: shown } = digestOf({ password: 'hunter2hunter2' }, key);
    expect(`${hmac} ${shown}`).not.toContain('hunter2');
  });

  it('has a fingerprint that does not depend on the order of keys, and does on everything else', () => {
    const mac = (value: unknown): string | undefined => digestOf(value, key).hmac;
    expect(mac({ a: 1, b: { c: 2, d: 3 } })).toBe(mac({ b: { d: 3, c: 2 }, a: 1 }));
    expect(mac({ a: 1 })).not.toBe(mac({ a: '1' }));
    expect(mac([1, 2])).not.toBe(mac([2, 1]));
    expect(mac(JSON.parse('{"__proto__":1}'))).not.toBe(mac({}));
    expect(digestOf({ a: 1 }, createSecretKey(Buffer.alloc(32, 8))).hmac).not.toBe(mac({ a: 1 }));
  });

  it('is bounded, whatever is given', () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key${i}`.padEnd(200, 'x'), i]));
    expect(shape(many).length).toBeLessThanOrEqual(512);
    let deep: unknown = 1;
    for (let i = 0; i < 1000; i++) deep = [deep];
    expect(shape(deep)).toBe('[[[[[[… ×1] ×1] ×1] ×1] ×1] ×1]');
  });

  it('is only a shape for what is no JSON', () => {
    const circular: Record<string, unknown> = { n: 1n };
    circular['self'] = circular;
    const digest = digestOf(circular, key);
    expect(digest.hmac).toBeUndefined();
    expect(digest.shape).toContain('n:bigint');
  });
});
