import { describe, expect, it } from '@jest/globals';
import { CallParams, isJson, NamedParams, RequestMessage } from '../../lib/core/json-rpc.ts';

describe('messages by constructors', () => {
  it('are plain objects with their fields in the usual order', () => {
    const params = new CallParams('echo', { a: 1 });
    const message = new RequestMessage('t1.', 'tools/call', params);
    for (const [made, text] of [
      [new NamedParams('echo'), '{"name":"echo"}'],
      [params, '{"name":"echo","arguments":{"a":1}}'],
      [
        message,
        '{"jsonrpc":"2.0","id":"t1.","method":"tools/call","params":{"name":"echo","arguments":{"a":1}}}',
      ],
    ] as const) {
      expect(Object.getPrototypeOf(made)).toBe(Object.prototype);
      expect(made.constructor).toBe(Object);
      expect(JSON.stringify(made)).toBe(text);
      expect(isJson(made)).toBe(true);
      expect(made).toStrictEqual(JSON.parse(text));
    }
  });

  it('leave the prototype of all objects as it was', () => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect({}.constructor).toBe(Object);
  });
});
