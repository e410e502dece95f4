import { describe, expect, it } from '@jest/globals';
import {
  fieldName,
  Fields,
  invalid,
  kindOf,
  nearest,
  OBJECT_ORIGIN,
  type At,
} from '../../lib/config/fields.ts';
import { invalidAt, refusal } from '../support/config-expectations.ts';

const at: At = { origin: OBJECT_ORIGIN, server: 's', base: [], path: [] };
const option = { value: 1, unit: 'ms', about: '', min: 0, max: 10, whole: true };

describe('fields', () => {
  it('names a field as one would write it', () => {
    expect(fieldName(['replicas', 1, 'headers', 'x'])).toBe('replicas[1].headers.x');
  });

  it('puts server, field, problem, remedy, file and line into one sentence', () => {
    const origin = { file: 'mcp.json', lineOf: () => 12 };
    const error = invalid({ origin, server: 'github', base: [], path: ['timeoutMs'] }, 'is -1', 'give more');
    expect(error.message).toBe('[config_invalid] github: timeoutMs is -1; give more (mcp.json, line 12)');
    expect(error.data).toEqual({ field: 'timeoutMs', file: 'mcp.json', line: 12 });
  });

  it.each([
    [null, 'null'],
    [[1], 'a list'],
    [3, '3'],
    ['', 'empty'],
    ['secret', 'a string'],
    [{}, 'an object'],
    [() => 1, 'a function'],
  ])('says of %p that it is %s', (value, kind) => {
    expect(kindOf(value)).toBe(kind);
  });

  it('takes null for absent and reads own properties only', () => {
    const fields = new Fields({ a: null }, at);
    expect(fields.text('a')).toBeUndefined();
    expect(fields.get('constructor')).toBeUndefined();
    expect(fields.raw('a')).toBeNull();
  });

  it.each([
    ['NaN', NaN],
    ['below', -1],
    ['above', 11],
    ['not whole', 1.5],
    ['no number', '5'],
    ['endless', Infinity],
  ])('refuses a number that is %s', (_, value) => {
    expect(refusal(() => new Fields({ n: value }, at).number('n', option))).toEqual(
      invalidAt('n', /whole number \(ms\), 0 to 10/),
    );
  });

  it('knows what nobody asked for, a key called __proto__ too', () => {
    const fields = new Fields(JSON.parse('{"a":1,"b":2,"__proto__":3}'), at);
    fields.get('a');
    expect(Object.entries(fields.rest())).toEqual([
      ['b', 2],
      ['__proto__', 3],
    ]);
    expect(({} as { b?: number }).b).toBeUndefined();
  });

  it('refuses unknown keys where all are ours, and guesses what was meant', () => {
    const fields = new Fields({ retires: 3 }, at);
    fields.get('retries');
    expect(refusal(() => fields.nothingElse())).toEqual(invalidAt('retires', /did you mean retries\?/));
  });

  it.each([
    ['timeoutms', 'timeoutMs'],
    ['timoutMs', 'timeoutMs'],
    ['args', undefined],
    ['headres', 'headers'],
    ['hedaers', 'headers'],
    ['description', undefined],
  ])('takes %s for %s', (key, guess) => {
    expect(nearest(key, ['timeoutMs', 'headers', 'era'])).toBe(guess);
  });

  it('takes a swap of neighbours for one mistake, so that short words are understood too', () => {
    expect(nearest('agrs', ['args'])).toBe('args');
    expect(nearest('gras', ['args'])).toBeUndefined();
  });
});
