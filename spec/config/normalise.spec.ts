import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Config, EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import {
  isConfig,
  normalise,
  onlyTroupeErrors,
  withoutServer,
  withServer,
} from '../../lib/config/normalise.ts';
import type { Interceptor } from '../../lib/core/interceptor.ts';
import { isTroupeError } from '../../lib/core/errors.ts';
import { configRefusal, expectDeepFrozen, invalidAt, refusal } from '../support/config-expectations.ts';

const x = { command: 'x' };
const names = (config: Config): string[] => config.servers.map((server) => server.name);

describe('normalise', () => {
  it('fills everything in and freezes it', () => {
    const config = normalise({ servers: { a: x } });
    expectDeepFrozen(config);
    expect(config).toMatchObject({
      naming: 'prefixed',
      host: {},
      interceptors: [],
      secure: false,
      pool: { maxConnections: Infinity, idleMs: Infinity },
      timeoutMs: 60_000,
      listTimeoutMs: 15_000,
      stop: { graceMs: 2_000, eofMs: 500, sigtermMs: 500 },
      restart: { baseMs: 500, factor: 1.6, capMs: 30_000, jitter: 0.2, intensity: 5, periodMs: 60_000 },
      warnings: [],
    });
    expect(config.startConcurrency).toBeGreaterThanOrEqual(2);
  });

  it('keeps the order of declaration', () => {
    expect(names(normalise({ servers: { b: x, a: x, c: x } }))).toEqual(['b', 'a', 'c']);
    expect(
      names(
        normalise({
          servers: new Map([
            ['9', x],
            ['1', x],
          ]),
        }),
      ),
    ).toEqual(['9', '1']);
  });

  it('takes what other hosts call it', () => {
    expect(names(normalise({ mcpServers: { a: x } }))).toEqual(['a']);
    expect(names(normalise({ servers: { a: x }, mcpServers: { b: x } }))).toEqual(['a', 'b']);
    expect(names(normalise({ a: x, b: { url: 'https://h' } }))).toEqual(['a', 'b']);
    expect(names(normalise({}))).toEqual([]);
  });

  it('gives a Config back as it is, and keeps the servers of one that was spread', () => {
    const config = normalise({
      servers: { a: x, b: { ...x, timeout: 3 } },
      naming: 'transparent',
      audit: 'a.log',
      principal: 'me',
      limits: { depth: 7 },
    });
    expect(isConfig(config)).toBe(true);
    expect(normalise(config)).toBe(config);
    const again = normalise({ ...config, secure: true });
    expect(again).toEqual({ ...config, secure: true });
    expect(again.servers[0]).toBe(config.servers[0]);
    expect(again.warnings).toHaveLength(1);
  });

  it('reads every option of the engine', () => {
    const interceptor: Interceptor = (next) => next;
    const naming = (server: string, name: string): string => server + name;
    const clock = {
      now: () => 0,
      wallTime: () => 0,
      after: () => () => {},
      deadline: () => {},
      cancelDeadline: () => {},
    };
    const logger = { debug() {}, info() {}, warn() {}, error() {} };
    const policy = { rules: [] };
    const config = normalise({
      servers: {},
      naming,
      host: {
        sample: () => ({}),
        roots: ['file:///w', { uri: 'file:///x', name: 'x' }],
        capabilities: { experimental: {} },
      },
      interceptors: [interceptor],
      policy,
      principal: { id: 'p', roles: ['r'], tenant: 't' },
      audit: 'logs/audit.jsonl',
      pool: { maxConnections: 3, idleMs: 5 },
      stateDir: 'state',
      startConcurrency: 1,
      clock,
      logger,
      random: Math.random,
    });
    expect(config).toMatchObject({
      naming,
      principal: { id: 'p', roles: ['r'], tenant: 't' },
      audit: { file: resolve('logs/audit.jsonl') },
      pool: { maxConnections: 3, idleMs: 5 },
      stateDir: resolve('state'),
      startConcurrency: 1,
    });
    expect(config.host.roots).toEqual([{ uri: 'file:///w' }, { uri: 'file:///x', name: 'x' }]);
    expect([config.clock, config.logger, config.random, config.policy, config.interceptors[0]]).toEqual([
      clock,
      logger,
      Math.random,
      policy,
      interceptor,
    ]);
    expect(normalise({ principal: 'p', audit: true })).toMatchObject({ principal: { id: 'p' }, audit: {} });
  });

  it.each([
    [null, '', /null/],
    [[], '', /list/],
    ['mcp.json', '', /string/],
    [{ servers: 'x' }, 'servers', /string/],
    [{ servers: [x] }, 'servers[0]', /no name/],
    [{ servers: new Map([[1, x]]) }, 'servers', /no text/],
    [{ naming: 'short' }, 'naming', /prefixed, transparent/],
    [{ host: 3 }, 'host', /is 3/],
    [{ host: { sample: 'x' } }, 'host.sample', /function/],
    [{ host: { sampling: () => 1 } }, 'host.sampling', /did you mean|known here/],
    [{ host: { roots: 'file:///' } }, 'host.roots', /function/],
    [{ host: { roots: ['/tmp'] } }, 'host.roots[0].uri', /file:/],
    [{ host: { roots: [{}] } }, 'host.roots[0].uri', /missing/],
    [{ interceptors: {} }, 'interceptors', /list/],
    [{ interceptors: [3] }, 'interceptors[0]', /is 3/],
    [{ policy: 'allow' }, 'policy', /string/],
    [{ principal: {} }, 'principal.id', /missing/],
    [{ principal: { id: 'x', roles: 'admin' } }, 'principal.roles', /list/],
    [{ principal: 3 }, 'principal', /is 3/],
    [{ secure: 'yes' }, 'secure', /true or false/],
    [{ audit: 3 }, 'audit', /is 3/],
    [{ pool: { maxConnections: 0 } }, 'pool.maxConnections', /1 or more/],
    [{ pool: { max: 3 } }, 'pool.max', /known here: maxConnections, idleMs/],
    [{ stateDir: '' }, 'stateDir', /empty/],
    [{ timeoutMs: 2 ** 31 }, 'timeoutMs', /2147483647/],
    [{ startConcurrency: 0 }, 'startConcurrency', /1 or more/],
    [{ clock: { now: () => 1 } }, 'clock', /wallTime/],
    [{ random: 3 }, 'random', /function/],
    [{ logger: console.log }, 'logger', /debug/],
    [{ limits: { depth: 0 } }, 'limits.depth', /is 0/],
  ])('refuses %p at %s', (config, field, problem) => {
    expect(configRefusal(config)).toEqual(invalidAt(field, problem));
  });

  it('guesses what a misspelt option was', () => {
    const config = normalise({ servers: {}, interceptor: [], inputs: [] });
    expect(config.warnings).toEqual(['interceptor is not an option; did you mean interceptors?']);
    expect(Object.keys(config.extensions)).toEqual(['interceptor']);
  });

  it('checks strategies where it knows them', () => {
    const strategies = ['p2c', 'round-robin', 'ewma-least-outstanding'];
    const servers = { a: { ...x, routing: 'round-robbin' } };
    expect(normalise({ servers }).servers[0]?.routing.strategy).toBe('round-robbin');
    const fails = (config: EngineConfig | Config): unknown =>
      expect(refusal(() => normalise(config, { strategies }))).toEqual(
        invalidAt('routing.strategy', /did you mean round-robin/),
      );
    fails({ servers });
    fails(normalise({ servers }));
    expect(names(normalise({ servers: { a: x } }, { strategies }))).toEqual(['a']);
  });

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
      expect([names(config), config.warnings]).toEqual([
        ['a'],
        ['a: equivalentTo names b, which is disabled'],
      ]);
    });
  });

  describe('with a hostile object', () => {
    it('takes no server from a prototype', () => {
      expect(
        names(normalise({ servers: Object.create({ evil: x }) as Record<string, ServerConfig> })),
      ).toEqual([]);
      const parsed = JSON.parse(
        '{"servers":{"__proto__":{"command":"x"},"a":{"__proto__":{"command":"evil"},"command":"x"}}}',
      ) as EngineConfig;
      expect(names(normalise(parsed))).toEqual(['__proto__', 'a']);
      expect(({} as { command?: string }).command).toBeUndefined();
    });

    it('passes on no error of a getter, a proxy or an exhausted stack', () => {
      const getter = {
        get servers(): never {
          throw new RangeError('boom');
        },
      };
      for (const input of [
        getter,
        new Proxy(
          {},
          {
            ownKeys: () => {
              throw new TypeError('boom');
            },
          },
        ),
      ]) {
        expect(() => normalise(input as EngineConfig)).toThrow(
          expect.objectContaining({ code: 'config_invalid' }),
        );
      }
      const endless = (): number => endless() + 1;
      expect(() => onlyTroupeErrors(endless)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
    });
  });
});

describe('properties', () => {
  const keys = [
    'command',
    'args',
    'env',
    'url',
    'headers',
    'type',
    'replicas',
    'tiers',
    'weight',
    'routing',
    'affinity',
    'by',
    'cache',
    'tools',
    'ttlMs',
    'retry',
    'retries',
    'breaker',
    'rateLimit',
    'stop',
    'graceMs',
    'limits',
    'depth',
    'auth',
    'tls',
    'ca',
    'equivalentTo',
    'timeoutMs',
    'cwd',
    'envFile',
    'where',
    'kind',
    'disabled',
    '__proto__',
    'constructor',
    'toString',
    'servers',
    'mcpServers',
    'mcp',
    'inputs',
    'host',
    'roots',
    'pool',
    'principal',
    'id',
    'naming',
    'audit',
    'a',
    '',
  ];
  const texts = [
    'x',
    '',
    'https://h',
    'http://h',
    'stdio',
    'http',
    '${A}',
    '${env:TROUPE_MISSING}',
    '${',
    '\0',
    'a\r\nb',
    'handle',
    '-----BEGIN x',
    '/',
  ];
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(...texts),
      fc.constantFrom(0, 1, -1, 2 ** 31, 0.5, true, false, null),
      fc.array(tie('value'), { maxLength: 3 }),
      // JSON.parse, so that __proto__ is a key like any other.
      fc
        .array(fc.tuple(fc.constantFrom(...keys), tie('value')), { maxLength: 6 })
        .map(
          (pairs) =>
            JSON.parse(
              `{${pairs.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(',')}}`,
            ) as unknown,
        ),
    ),
  }));
  /** What is wrong with the answer to an input: `undefined` for a config that is idempotent, and for `config_invalid`. */
  const faultOf = (input: unknown): unknown => {
    try {
      const config = normalise(input as EngineConfig);
      return isDeepStrictEqual(normalise({ ...config }), config) ? undefined : config;
    } catch (error) {
      if (!isTroupeError(error) || error.code !== 'config_invalid') return error;
      // An unread reason ("cannot be read") would hide a fault of ours.
      return error.cause === undefined || 'code' in (error.cause as object) ? undefined : error;
    }
  };

  it('throws nothing but config_invalid on any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (input) => {
        expect(faultOf(input)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  it('throws nothing but config_invalid on JSON made of our own words', () => {
    fc.assert(
      fc.property(value, (input) => {
        expect(faultOf(input)).toBeUndefined();
      }),
      { numRuns: 800 },
    );
  });

  it('throws nothing but config_invalid on one server made of our own words, and is idempotent', () => {
    fc.assert(
      fc.property(
        value,
        fc.constantFrom({ command: 'x' }, { url: 'https://h' }, { replicas: [{ command: 'x' }] }),
        (extra, base) => {
          const input = {
            servers: {
              s:
                typeof extra === 'object' && !Array.isArray(extra)
                  ? { ...extra, ...base }
                  : { ...base, args: extra },
            },
          };
          expect(faultOf(input)).toBeUndefined();
        },
      ),
      { numRuns: 800 },
    );
  });

  it('survives any nesting', () => {
    let deep: unknown = 'x';
    for (let i = 0; i < 50_000; i++) deep = i % 2 === 0 ? [deep] : { a: deep };
    expect(faultOf({ servers: { s: { command: 'x', args: deep, junk: deep } } })).toBeUndefined();
    expect(faultOf({ servers: { s: { command: 'x', junk: deep } } })).toBeUndefined();
  });
});

describe('withServer and withoutServer', () => {
  const config = normalise({ servers: { a: x, b: { ...x, equivalentTo: 'a' } }, timeoutMs: 7 });

  it('add one, with the settings of the engine', () => {
    const next = withServer(config, 'c', { ...x, equivalentTo: 'a', timeout: 1 });
    expect([names(next), next.servers[2]?.timeoutMs, next.warnings.length, isConfig(next)]).toEqual([
      ['a', 'b', 'c'],
      7,
      1,
      true,
    ]);
    expect(next.servers[0]).toBe(config.servers[0]);
    expect(withServer(config, 'c', { ...x, disabled: true })).toBe(config);
  });

  it('refuse a name that is taken, an unknown equivalent and a bad server', () => {
    const fails = (name: string, server: ServerConfig, field: string, ...says: RegExp[]): void => {
      const error = refusal(() => withServer(config, name, server));
      expect(error).toEqual(invalidAt(field, ...says));
      expect(error.server).toBe(name);
    };
    fails('a', x, '', /configured already/);
    fails('c', { ...x, equivalentTo: 'z' }, 'equivalentTo', /no server/);
    fails('c', { ...x, timeoutMs: -1 }, 'timeoutMs', /-1/);
    expect(refusal(() => withServer(config, 'c', { ...x, routing: 'q' }, { strategies: ['p2c'] }))).toEqual(
      invalidAt('routing.strategy', /p2c/),
    );
  });

  it('take one away; others may go on naming it', () => {
    const next = withoutServer(config, 'a');
    expect([names(next), isConfig(next)]).toEqual([['b'], true]);
    expect(withoutServer(config, 'z')).toBe(config);
    expect(names(withServer(next, 'c', x))).toEqual(['b', 'c']);
  });
});
