import { describe, expect, it } from '@jest/globals';
import { jsonPointer } from '../../lib/routing/json-pointer.ts';

describe('JSON pointer', () => {
  // RFC 6901 §5.
  const document = { foo: ['bar', 'baz'], '': 0, 'a/b': 1, 'm~n': 8, '~1': 9, k: { l: { m: null } } };

  it.each([
    ['', document],
    ['/foo', ['bar', 'baz']],
    ['/foo/0', 'bar'],
    ['/', 0],
    ['/a~1b', 1],
    ['/m~0n', 8],
    ['/~01', 9],
    ['/k/l/m', null],
    ['/foo/01', undefined],
    ['/foo/-', undefined],
    ['/k/x/y', undefined],
    ['/k/l/m/n', undefined],
    ['/__proto__/polluted', undefined],
    ['/constructor', undefined],
  ])('%s', (pointer, value) => {
    expect(jsonPointer(pointer, 'affinity.argument')(document)).toEqual(value);
  });

  it('finds nothing in what is no document', () => {
    expect(jsonPointer('/a', 'f')(undefined)).toBeUndefined();
    expect(jsonPointer('/length', 'f')('text')).toBeUndefined();
  });

  it('is refused where it is none', () => {
    expect(() => jsonPointer('sessionId', 'affinity.argument')).toThrow(
      /config_invalid.*affinity\.argument.*"\/sessionId"/,
    );
  });
});
