import { describe, expect, it } from '@jest/globals';
import { Fields, OBJECT_ORIGIN } from '../../lib/config/fields.ts';
import { expectType, readType } from '../../lib/config/place-type.ts';
import { invalidAt, refusal } from '../support/config-expectations.ts';

const fields = (value: object): Fields =>
  new Fields(value, { origin: OBJECT_ORIGIN, server: 's', base: [], path: [] });

describe('the type of a place', () => {
  it.each([
    ['stdio', 'stdio'],
    ['local', 'stdio'],
    ['http', 'http'],
    ['streamable-http', 'http'],
    ['streamableHttp', 'http'],
    ['streamable_http', 'http'],
    ['sse', 'sse'],
    ['ws', 'websocket'],
    ['websocket', 'websocket'],
    ['remote', 'remote'],
  ])('%s means %s', (type, meaning) => {
    expect(readType(fields({ type }))).toBe(meaning);
    expect(readType(fields({ transportType: type }))).toBe(meaning);
  });

  it('may be left open', () => {
    expect(readType(fields({}))).toBeUndefined();
    expect(() => expectType(fields({}), undefined, 'http', ['http'], 'url')).not.toThrow();
  });

  it.each(['HTTP', 3, '', {}, 'constructor'])('is not %j', (type) => {
    expect(refusal(() => readType(fields({ type })))).toEqual(invalidAt('type', /stdio, http, sse, ws/));
  });

  it('agrees with the fields it stands beside', () => {
    expect(refusal(() => expectType(fields({}), 'sse', 'stdio', ['stdio'], 'command'))).toEqual(
      invalidAt('type', /is sse, but command means stdio/),
    );
  });
});
