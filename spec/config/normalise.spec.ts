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
import { isTroupeError } from '../../lib/core/errors.ts';
import { expectDeepFrozen, invalidAt, refusal } from '../support/config-expectations.ts';

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
