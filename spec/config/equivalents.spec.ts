import { describe, expect, it } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import { normalise } from '../../lib/config/normalise.ts';
import { invalidAt, refusal } from '../support/config-expectations.ts';

const x = { command: 'x' };

describe('equivalentTo', () => {
  it('names other servers', () => {
    const config = normalise({
      servers: { a: { ...x, equivalentTo: 'b' }, b: { ...x, equivalentTo: ['c', 'c'] }, c: x },
    });
    expect(config.servers.map((s) => s.equivalentTo)).toEqual([['b'], ['c'], []]);
  });

  it.each([
    [{ a: { ...x, equivalentTo: 'a' } }, 'a', /a → a/],
    [{ a: { ...x, equivalentTo: 'b' }, b: { ...x, equivalentTo: 'a' } }, 'b', /a → b → a/],
    [
      {
        a: { ...x, equivalentTo: ['b', 'c'] },
        b: x,
        c: { ...x, equivalentTo: ['b', 'd'] },
        d: { ...x, equivalentTo: 'c' },
      },
      'd',
      /c → d → c/,
    ],
    [{ a: { ...x, equivalentTo: 'github' }, githab: x }, 'a', /did you mean githab/],
    [{ a: { ...x, equivalentTo: '__proto__' } }, 'a', /no server/],
  ])('refuses %j', (servers, server, problem) => {
    const error = refusal(() => normalise({ servers: servers as Record<string, ServerConfig> }));
    expect(error).toEqual(invalidAt('equivalentTo', problem));
    expect(error.server).toBe(server);
  });

  it('walks a long chain, and one that many lead into', () => {
    const servers: Record<string, ServerConfig> = {};
    for (let i = 0; i < 1_500; i++)
      servers[`s${i}`] = { ...x, equivalentTo: i === 1_499 ? [] : [`s${i + 1}`, 's1499'] };
    expect(normalise({ servers }).servers).toHaveLength(1_500);
  });

  it('warns about one that is disabled', () => {
    const config = normalise({ servers: { a: { ...x, equivalentTo: 'b' }, b: { ...x, disabled: true } } });
    expect([config.servers.map((server) => server.name), config.warnings]).toEqual([
      ['a'],
      ['a: equivalentTo names b, which is disabled'],
    ]);
  });
});
