import { describe, expect, it } from '@jest/globals';
import { invalidAt, resolved, serverRefusal } from '../support/config-expectations.ts';

const where = (server: unknown): unknown => resolved(server).replicas[0]?.where;

describe('functions', () => {
  it('make a server in this process or a transport', () => {
    const make = (): object => ({});
    expect(where({ server: make })).toEqual({ kind: 'in-process', server: make });
    expect(where({ transport: make })).toEqual({ kind: 'custom', transport: make });
  });

  it.each([
    [{ server: {} }, 'server', /function/],
    [{ transport: 'x' }, 'transport', /function/],
    [{ server: () => 1, transport: () => 1 }, 'transport', /stands beside server/],
    [{ server: () => 1, args: ['x'] }, 'args', /no meaning/],
    [{ server: () => 1, headers: { a: 'b' } }, 'headers', /no meaning/],
    [{}, '', /nowhere/],
    [{ args: ['x'], comand: 'node' }, 'comand', /did you mean command\?/],
    [{ adress: 'http://127.0.0.1' }, '', /nowhere/],
  ])('are refused as %p', (server, field, problem) => {
    expect(serverRefusal(server)).toEqual(invalidAt(field, problem));
  });
});
