import { describe, expect, it } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import { normalise } from '../../lib/config/normalise.ts';
import {
  expectDeepFrozen,
  invalidAt,
  refusal,
  resolved,
  serverRefusal,
  withWarnings,
} from '../support/config-expectations.ts';

const server = (options: object): ReturnType<typeof resolved> => resolved({ command: 'x', ...options });

describe('a server', () => {
  it('is filled in and frozen to the bottom', () => {
    const filled = server({
      headers: {},
      env: { A: '1' },
      affinity: 'tool',
      tools: ['a'],
      tls: {},
      auth: { a: { b: 1 } },
      surprise: 1,
    });
    expectDeepFrozen(filled);
    expect(filled).toMatchObject({
      name: 's',
      era: 'auto',
      lazy: false,
      maxInFlight: 256,
      timeoutMs: 60_000,
      startTimeoutMs: 10_000,
      listTimeoutMs: 15_000,
      routing: { strategy: 'ewma-least-outstanding', options: {} },
      tiers: { mode: 'failover' },
    });
  });

  it.each([
    'github',
    'My Server',
    '@scope/name',
    'io.github.user/repo',
    '日本',
    '__proto__',
    'constructor',
    'toString',
    '7',
  ])('may be called %s', (name) => {
    const servers = new Map([[name, { command: 'x' } as ServerConfig]]);
    expect(normalise({ servers }).servers.map((s) => [s.name, s.replicas[0]?.id])).toEqual([[name, name]]);
  });

  it.each(['', ' a', 'a\n', 'a#0', 'a@b', 'x'.repeat(129), 'a\u2028b'])('may not be called %j', (name) => {
    expect(refusal(() => normalise({ servers: { [name]: { command: 'x' } } }))).toEqual(
      invalidAt('', /name that cannot be used/),
    );
  });

  it.each([
    [null, /null/],
    ['npx', /string/],
    [[], /list/],
    [3, /is 3/],
  ])('is an object, not %j', (value, problem) => {
    expect(serverRefusal(value)).toEqual(invalidAt('', problem));
  });

  it.each([
    [{ timeoutMs: NaN }, 'timeoutMs', /NaN/],
    [{ timeoutMs: -1 }, 'timeoutMs', /-1/],
    [{ timeoutMs: 0 }, 'timeoutMs', /is 0/],
    [{ timeoutMs: 2 ** 31 }, 'timeoutMs', /2147483647/],
    [{ timeoutMs: Infinity }, 'timeoutMs', /Infinity/],
    [{ timeoutMs: '60s' }, 'timeoutMs', /number/],
    [{ startTimeoutMs: 0 }, 'startTimeoutMs', /is 0/],
    [{ maxInFlight: 0 }, 'maxInFlight', /1 or more/],
    [{ maxInFlight: 1.5 }, 'maxInFlight', /whole/],
    [{ era: 'old' }, 'era', /auto, legacy, modern/],
    [{ lazy: 'yes' }, 'lazy', /true or false/],
    [{ prior: [] }, 'prior', /list/],
    [{ disabled: 'yes' }, 'disabled', /true or false/],
    [{ equivalentTo: 3 }, 'equivalentTo', /is 3/],
    [{ routing: 3 }, 'routing', /is 3/],
    [{ routing: { strategy: 3 } }, 'routing.strategy', /is 3/],
    [{ routing: { options: 3 } }, 'routing.options', /is 3/],
    [{ affinity: 'mood' }, 'affinity.by', /choose one of/],
    [{ affinity: {} }, 'affinity.by', /missing/],
    [{ affinity: { by: 'handle' } }, 'affinity.argument', /missing/],
    [{ affinity: { by: 'key', argument: 'a/b' } }, 'affinity.argument', /JSON pointer/],
    [{ affinity: { by: 'tool', onLoss: 'cry' } }, 'affinity.onLoss', /fail, rehash, reinit/],
    [{ affinity: { by: 'tool', moed: 1 } }, 'affinity.moed', /did you mean|known here/],
    [{ tiers: 'x' }, 'tiers.mode', /failover, proportional/],
    [{ tiers: { factor: 0.5 } }, 'tiers.factor', /1 to 100/],
    [{ tools: 'x' }, 'tools', /list/],
    [{ tools: [1] }, 'tools[0]', /is 1/],
  ])('refuses %j at %s', (options, field, problem) => {
    expect(serverRefusal({ command: 'x', ...options })).toEqual(invalidAt(field, problem));
  });

  it.each([{ disabled: true, command: 3 }, { enabled: false }])('%j is as if it were not there', (value) => {
    expect(normalise({ servers: { s: value as unknown as ServerConfig } }).servers).toEqual([]);
  });

  it('keeps keys that mean nothing here, also one called __proto__', () => {
    const { extensions } = resolved(JSON.parse('{"command":"x","autoApprove":["a"],"__proto__":{"y":1}}'));
    expect(Object.keys(extensions)).toEqual(['autoApprove', '__proto__']);
    expect(({} as { y?: number }).y).toBeUndefined();
  });

  it('warns about keys that someone may rely on, and about likely typing errors', () => {
    expect(
      withWarnings({
        command: 'x',
        timeout: 60,
        headersHelper: 'y',
        sandboxEnabled: true,
        timeoutms: 3,
        alwaysAllow: [],
      }),
    ).toEqual([
      expect.stringContaining('timeout is not used: its unit differs'),
      expect.stringContaining('headersHelper is not used'),
      expect.stringContaining('sandboxEnabled is not used'),
      expect.stringContaining('did you mean timeoutMs?'),
    ]);
  });
});

describe('replicas', () => {
  it('are one by default, named like the server, and several are numbered', () => {
    expect(server({}).replicas.map((r) => r.id)).toEqual(['s']);
    expect(resolved({ replicas: [{ command: 'a' }] }).replicas.map((r) => r.id)).toEqual(['s']);
    expect(
      resolved({ replicas: [{ command: 'a' }, { url: 'https://h' }] }).replicas.map((r) => r.id),
    ).toEqual(['s#0', 's#1']);
  });

  it('may be copies of one place', () => {
    const { replicas } = server({ replicas: 3, weight: 2 });
    expect(replicas.map((r) => [r.id, r.weight])).toEqual([
      ['s#0', 2],
      ['s#1', 2],
      ['s#2', 2],
    ]);
    expect(replicas[0]?.where).toBe(replicas[2]?.where);
  });

  it('take over what stands beside them', () => {
    const { replicas } = resolved({
      command: 'x',
      args: ['a'],
      env: { A: '1', B: '1' },
      replicas: [{ env: { B: '2' } }, { args: ['b'] }, { command: 'y' }],
    });
    expect(
      replicas.map(({ where: w }) => (w.kind === 'stdio' ? [w.command, w.args, { ...w.env }] : w)),
    ).toEqual([
      ['x', ['a'], { A: '1', B: '2' }],
      ['x', ['b'], { A: '1', B: '1' }],
      ['y', [], { A: '1', B: '1' }],
    ]);
  });

  it('join headers whatever their case, and do not give programs headers or addresses variables', () => {
    const { replicas } = resolved({
      type: 'sse',
      headers: { Authorization: 'a', 'X-A': '1' },
      replicas: [{ url: 'https://h', headers: { authorization: 'b' } }, { url: 'https://i' }],
    });
    expect(replicas.map(({ where: w }) => (w.kind === 'http' ? [w.flavour, { ...w.headers }] : w))).toEqual([
      ['sse', { authorization: 'b', 'x-a': '1' }],
      ['sse', { authorization: 'a', 'x-a': '1' }],
    ]);
    const mixed = resolved({
      headers: { a: 'b' },
      env: { A: '1' },
      replicas: [{ url: 'https://h' }, { command: 'x' }],
    });
    expect(mixed.replicas.map((r) => r.where.kind)).toEqual(['http', 'stdio']);
  });

  it('stand in tiers', () => {
    const { replicas } = resolved({ tiers: [[{ command: 'a' }, { command: 'b' }], [{ command: 'c' }]] });
    expect(replicas.map((r) => [r.id, r.tier])).toEqual([
      ['s#0', 0],
      ['s#1', 0],
      ['s#2', 1],
    ]);
  });

  it.each([
    [{ replicas: [] }, 'replicas', /empty/],
    [{ replicas: 0 }, 'replicas', /1 to 1024/],
    [{ replicas: 1.5 }, 'replicas', /1 to 1024/],
    [{ replicas: {} }, 'replicas', /object/],
    [{ replicas: [{}] }, 'replicas[0]', /nowhere/],
    [{ replicas: [{ url: 'https://h' }, null] }, 'replicas[1]', /null/],
    [{ replicas: [{ command: 'x', weight: -1 }] }, 'replicas[0].weight', /-1/],
    [{ replicas: [{ command: 'x', weight: 0 }] }, 'replicas[0].weight', /is 0/],
    [{ replicas: [{ command: 'x', weight: NaN }] }, 'replicas[0].weight', /NaN/],
    [{ replicas: [{ command: 'x', tier: 1.5 }] }, 'replicas[0].tier', /whole/],
    [{ replicas: [{ url: 'nonsense' }] }, 'replicas[0].url', /no address/],
    [{ tiers: [] }, 'tiers', /empty/],
    [{ tiers: [[{ command: 'x' }], []] }, 'tiers[1]', /empty/],
    [{ tiers: [{ command: 'x' }] }, 'tiers[0]', /object/],
    [{ tiers: [[{ command: 'x' }]], replicas: [{ command: 'x' }] }, 'replicas', /beside tiers/],
  ])('are refused as %j at %s', (value, field, problem) => {
    expect(serverRefusal(value)).toEqual(invalidAt(field, problem));
  });

  it('say which of their keys have no effect', () => {
    expect(withWarnings({ replicas: [{ command: 'x', maxInFlight: 3 }] })).toEqual([
      's: maxInFlight is not used in a replica; write it beside replicas',
    ]);
  });
});

describe('routing and affinity', () => {
  it('take a name, or a name with options beside it', () => {
    expect(server({ routing: 'p2c' }).routing).toEqual({ strategy: 'p2c', options: {} });
    expect(server({ routing: { strategy: 'p2c', decayMs: 3 } }).routing).toEqual({
      strategy: 'p2c',
      options: { decayMs: 3 },
    });
    expect(server({ routing: { decayMs: 3 } }).routing.strategy).toBe('ewma-least-outstanding');
  });

  it('are strict where state cannot move', () => {
    expect(server({ affinity: 'session' }).affinity).toEqual({
      by: 'session',
      argument: undefined,
      mode: 'strict',
      onLoss: 'fail',
    });
    expect(server({ affinity: { by: 'handle', argument: '/id' } }).affinity).toMatchObject({
      mode: 'strict',
    });
    expect(server({ affinity: 'resource' }).affinity).toMatchObject({ mode: 'prefer' });
    const by = (): string => 'k';
    expect(server({ affinity: by }).affinity?.by).toBe(by);
    expect(server({ affinity: false }).affinity).toBeUndefined();
  });
});

describe('tools', () => {
  it.each([
    [{}, undefined, []],
    [{ tools: ['*'] }, undefined, []],
    [{ tools: ['a'] }, ['a'], []],
    [{ tools: { include: ['a'], exclude: ['b'] } }, ['a'], ['b']],
    [{ includeTools: ['a'], excludeTools: ['b', 'b'] }, ['a'], ['b']],
    [{ tools: [] }, [], []],
  ])('of %j', (options, include, exclude) => {
    expect(server(options).tools).toEqual({ include, exclude });
  });
});

describe('a resolved server', () => {
  const first = server({
    args: ['$${A}'],
    env: { A: null },
    retry: false,
    hedge: true,
    affinity: 'tool',
    surprise: 1,
    cache: false,
  });

  it('is taken back as it is', () => {
    expect(normalise({ servers: [first] }).servers[0]).toBe(first);
    expect(normalise({ servers: { s: first as unknown as ServerConfig } }).servers[0]).toBe(first);
  });

  it('may be spread and changed', () => {
    const changed = resolved({ ...first, timeoutMs: 5 });
    expect(changed).toEqual({ ...first, timeoutMs: 5 });
    const remote = resolved({ url: 'https://h/mcp', type: 'sse', headers: { a: 'b' }, replicas: 2 });
    expect(resolved({ ...remote })).toEqual(remote);
  });
});
