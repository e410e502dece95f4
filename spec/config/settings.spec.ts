import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Interceptor } from '../../lib/core/interceptor.ts';
import { normalise } from '../../lib/config/normalise.ts';
import { configRefusal, invalidAt } from '../support/config-expectations.ts';

const x = { command: 'x' };

describe('settings of the engine', () => {
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
      spawnHelperAboveBytes: 0,
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
      spawnHelperAboveBytes: 0,
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
    [{ vault: { key: 'k' } }, 'vault', /no place/],
    [{ vault: {}, stateDir: '/x' }, 'vault.key', /missing/],
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
    [{ spawnHelperAboveBytes: -1 }, 'spawnHelperAboveBytes', /0 or more/],
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
});
