import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { GLANCE_BYTES, mayHaveId, responseId } from '../../../lib/mcp/wire/glance.ts';

const big = 'x'.repeat(3 * GLANCE_BYTES);
const ends = (text: string): [string, string] => [text.slice(0, GLANCE_BYTES), text.slice(-GLANCE_BYTES)];

describe('mayHaveId', () => {
  it.each([
    ['{"jsonrpc":"2.0","method":"notifications/progress","params":{"id":1,"progressToken":"id"}}', false],
    ['{"jsonrpc":"2.0","method":"ping","id":1}', true],
    ['{"method":"ping","params":{"text":"\\"}],\\"id\\":3"},"id":1}', true],
    [' { "params" : [ { "id" : 2 } ] , "id" : 1 } ', true],
    ['{"params":{"a":"}"},"result":{},"id":"x"}', true],
    ['{"\\u0069d":1,"result":{}}', true],
    ['{"i\\u0064":1,"result":{}}', true],
    ['{"a\\"id":1,"method":"x"}', false],
    ['{"method":"x","params":{"\\u0069d":1}}', false],
    ['{"id":null}', true],
    ['[{"method":"x"}]', false],
    ['[{"method":"x"},{"id":1,"result":{}}]', true],
    ['null', false],
    ['starting server "id" on port 3', false],
    ['{"id', false],
    ['', false],
  ])('%s → %s', (text, expected) => {
    expect(mayHaveId(text)).toBe(expected);
  });

  it('is exact for any JSON object, however it is spaced', () => {
    const key = fc.oneof(fc.constant('id'), fc.string({ unit: 'binary' }));
    const value = fc.oneof(fc.jsonValue(), fc.constant({ id: 1 }));
    fc.assert(
      fc.property(fc.dictionary(key, value), fc.constantFrom('', ' ', '\t'), (message, space) => {
        expect(mayHaveId(JSON.stringify(message, null, space))).toBe(Object.hasOwn(message, 'id'));
      }),
    );
  });
});

describe('responseId', () => {
  it.each([
    ['in front', { jsonrpc: '2.0', id: 't1', result: { text: big } }, 't1'],
    ['behind, as the SDK writes it', { result: { text: big }, jsonrpc: '2.0', id: 7 }, 7],
    ['behind, before jsonrpc', { result: { text: big }, id: 'a"b', jsonrpc: '2.0' }, 'a"b'],
    ['of an error', { jsonrpc: '2.0', id: -3, error: { code: 1, message: big } }, -3],
    ['of nothing: a request', { jsonrpc: '2.0', id: 7, method: 'x', params: { big } }, undefined],
    ['of nothing: a notification about a result', { method: 'x', params: { big, id: 1 } }, undefined],
    ['of nothing: inside the result', { result: { big, item: { id: 9 } } }, undefined],
    ['of nothing: null', { jsonrpc: '2.0', id: null, error: { code: 1, message: big } }, undefined],
    ['of nothing: no object', [big], undefined],
  ])('finds the id %s', (_, message, id) => {
    expect(responseId(...ends(JSON.stringify(message)))).toBe(id);
  });

  it('is not misled by text that looks like an id', () => {
    const text = JSON.stringify({ result: { big, text: '","id":5}' } });
    expect(responseId(...ends(text))).toBeUndefined();
    expect(responseId(...ends(JSON.stringify({ result: { big }, 'x,"id': 5 })))).toBeUndefined();
  });

  it('gives the id of any large response, wherever it stands', () => {
    const id = fc.oneof(fc.integer(), fc.string({ unit: 'grapheme-ascii', maxLength: 20 }));
    fc.assert(
      fc.property(id, fc.jsonValue(), fc.boolean(), (id, value, front) => {
        const result = { value, big };
        const message = front ? { jsonrpc: '2.0', id, result } : { result, jsonrpc: '2.0', id };
        expect(responseId(...ends(JSON.stringify(message)))).toBe(id);
      }),
    );
  });
});
