import { describe, expect, it } from '@jest/globals';
import { sameServer } from '../../lib/config/same.ts';
import { resolved } from '../support/config-expectations.ts';

const make = (): object => ({});

describe('sameServer', () => {
  it.each([
    { command: 'x', args: ['a'], env: { A: '1' } },
    { url: 'https://h/mcp', headers: { a: 'b' }, tls: {}, auth: { oauth: { clientId: 'c', scopes: ['a'] } } },
    {
      replicas: [{ url: 'https://h' }, { url: 'https://i', weight: 2 }],
      routing: { strategy: 'p2c', decayMs: 3 },
    },
    { server: make },
    { transport: make, affinity: { by: make } },
    JSON.parse('{"command":"x","__proto__":{"a":[1,{"b":null}]}}') as object,
  ])('finds %j equal to itself, read twice', (server) => {
    expect(sameServer(resolved(server), resolved(server))).toBe(true);
  });

  it.each([
    [{ command: 'x' }, { command: 'y' }],
    [{ command: 'x' }, { command: 'x', args: ['a'] }],
    [
      { command: 'x', args: ['a', 'b'] },
      { command: 'x', args: ['b', 'a'] },
    ],
    [
      { command: 'x', env: { A: '1' } },
      { command: 'x', env: { A: null } },
    ],
    [
      { command: 'x', env: { A: '1' } },
      { command: 'x', env: { B: '1' } },
    ],
    [{ url: 'https://h/a' }, { url: 'https://h/b' }],
    [{ url: 'https://h' }, { url: 'wss://h' }],
    [
      { url: 'https://h', headers: { a: '1' } },
      { url: 'https://h', headers: { a: '2' } },
    ],
    [{ command: 'x' }, { command: 'x', timeoutMs: 5 }],
    [{ command: 'x' }, { command: 'x', retry: false }],
    [{ command: 'x' }, { command: 'x', junk: 1 }],
    [{ command: 'x' }, { command: 'x', replicas: 2 }],
    [{ server: (): object => ({}) }, { server: (): object => ({}) }],
    [
      { url: 'https://h', auth: { token: async () => 't' } },
      { url: 'https://h', auth: { token: async () => 't' } },
    ],
  ])('tells %j from %j', (a, b) => {
    expect(sameServer(resolved(a), resolved(b))).toBe(false);
    expect(sameServer(resolved(b), resolved(a))).toBe(false);
  });

  it('ends on circles', () => {
    const circle = (): object => {
      const data: Record<string, unknown> = { list: [] };
      (data['list'] as unknown[]).push(data);
      return data;
    };
    const of = (junk: object): ReturnType<typeof resolved> => resolved({ command: 'x', junk });
    expect(sameServer(of(circle()), of(circle()))).toBe(true);
    expect(sameServer(of(circle()), of({ list: [] }))).toBe(false);
  });
});
