import { createSecretKey } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { decodePins, encodePins } from '../../lib/security/pin-document.ts';
import type { ServerPins } from '../../lib/security/pin-document.ts';

const key = createSecretKey(Buffer.alloc(32, 1));
const pins: ServerPins = {
  launch: { fingerprint: 'l1', text: 'node server.js' },
  tools: new Map([
    ['echo', { fingerprint: 'e1', text: 'Echoes.' }],
    ['__proto__', { fingerprint: 'p1', text: 'x' }],
  ]),
};
const servers = new Map([
  ['a', pins],
  ['b', { launch: undefined, tools: new Map() }],
]);

describe('the document of pins', () => {
  it('gives back what was put in, with a key and without', () => {
    for (const seal of [key, undefined]) {
      expect(decodePins(() => encodePins({ servers, lost: undefined }, seal), seal)).toEqual({
        servers,
        damaged: new Map(),
        lost: undefined,
      });
    }
  });

  it('remembers that something was lost', () => {
    expect(decodePins(() => encodePins({ servers, lost: 'torn' }, key), key).lost).toBe('torn');
  });

  it('is empty where there is none', () => {
    expect(decodePins(() => undefined, key)).toEqual({
      servers: new Map(),
      damaged: new Map(),
      lost: undefined,
    });
  });

  it.each<[string, (text: string) => string, string[]]>([
    ['an edited fingerprint', (t) => t.replace('e1', 'e2'), ['a']],
    ['an edited seal', (t) => t.replace(/"seal": "./, '"seal": "x'), ['a']],
    ['pins given to another server', (t) => t.replace('"server": "b"', '"server": "c"'), ['c']],
    ['a server that stands there twice', (t) => t.replace('"server": "b"', '"server": "a"'), ['a']],
    ['a body that is no text', (t) => t.replace(/"body": ".*"/, '"body": 7'), ['a']],
  ])('does not believe %s', (_what, change, expected) => {
    const read = decodePins(() => change(encodePins({ servers, lost: undefined }, key)), key);
    expect([...read.damaged.keys()]).toEqual(expected);
    for (const server of expected) expect(read.servers.has(server)).toBe(false);
    expect(read.lost).toBeUndefined();
  });

  it('does not believe what was sealed without the key, or with another', () => {
    const text = encodePins({ servers, lost: undefined }, undefined);
    expect([...decodePins(() => text, key).damaged.keys()]).toEqual(['a', 'b']);
    expect([...decodePins(() => text, createSecretKey(Buffer.alloc(32, 2))).damaged.keys()]).toEqual([
      'a',
      'b',
    ]);
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{}',
    '{"version":2,"servers":[]}',
    '{"version":1}',
    '{"version":1,"servers":[null]}',
    '{"version":1,"servers":[{"server":1}]}',
  ])('is lost as a whole when it is %p', (text) => {
    const read = decodePins(() => text, key);
    expect(read.servers.size).toBe(0);
    expect(read.lost).toEqual(expect.any(String));
  });

  it('is lost when it cannot be read', () => {
    const unreadable = (): never => {
      throw new Error('EACCES');
    };
    expect(decodePins(unreadable, key).lost).toBe('EACCES');
  });
});
