import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import type { EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  logged,
  textOf,
  timeOf,
  until,
} from '../support/engines.ts';
import { flakyHttps, flakyStdio } from '../support/flaky.ts';
import { createScriptedPeer } from '../support/scripted-peer.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();
const directory = temporaryDirectories();

const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const call = (of: Engine, server: string, args = {}, options = {}): Promise<string> =>
  textOf(of.callTool(`${server}__act`, { nonce: 'n', ...args }, options));
const connected = (of: Engine): string[] =>
  of.fleet.connections.filter(({ state }) => state === 'Connected').map(({ id }) => id);

/** Lazy servers "a", "b" and "c" over HTTP, and an engine with a small pool. */
async function three(pool: EngineConfig['pool'], settings: Readonly<Record<string, ServerConfig>> = {}) {
  const names = ['a', 'b', 'c'];
  const hosts = await Promise.all(names.map((name) => http({ name })));
  const servers = Object.fromEntries(
    hosts.map(({ url, name }) => [name, { url, lazy: true, ...settings[name] }]),
  );
  const troupe = engine({ pool, servers });
  const evicted = heard(troupe, 'connection.evicted');
  await troupe.start();
  return { troupe, hosts, gone: () => evicted.map(({ connection }) => connection) };
}

describe('the pool of connections', () => {
  it('is not kept full by a server that is down', async () => {
    const down: ServerConfig = {
      transport: () => {
        throw new Error('not there');
      },
      restart: { baseMs: 100, capMs: 200 },
    };
    const { url } = await http({ name: 'good' });
    const troupe = engine({ pool: { maxConnections: 1 }, servers: { down, good: { url, lazy: true } } });
    await troupe.start();
    expect(troupe.connection('down').state).toBe('Error');
    expect(await call(troupe, 'good', {}, { timeoutMs: 5_000 })).toContain('n');
  });

  it('does not let servers that are down forget their backoff over each other', async () => {
    const attempts = { a: 0, c: 0 };
    const down = (name: 'a' | 'c'): ServerConfig => ({
      lazy: true,
      transport: () => {
        attempts[name] += 1;
        throw new Error('not there');
      },
    });
    const troupe = engine({
      pool: { maxConnections: 1 },
      restart: { baseMs: 60_000, capMs: 60_000 },
      servers: { a: down('a'), c: down('c') },
    });
    await troupe.start();
    for (const _ of times(5))
      for (const name of ['a', 'c'])
        expect(await failureOf(call(troupe, name, {}, { timeoutMs: 60 }))).toMatchObject({
          delivery: 'unsent',
        });
    expect(attempts).toEqual({ a: 1, c: 1 });
  });

  it('takes no place from who waits for the next attempt', async () => {
    const peers = { back: createScriptedPeer({ tools: ['x'] }), other: createScriptedPeer({ tools: ['y'] }) };
    let isDown = false;
    const troupe = engine({
      pool: { maxConnections: 1 },
      servers: {
        back: {
          retry: false,
          restart: { baseMs: 400, jitter: 0 },
          transport: () => {
            if (isDown) throw new Error('not there');
            return peers.back.transport;
          },
        },
        other: { lazy: true, transport: () => peers.other.transport },
      },
    });
    for (const [name, peer] of Object.entries(peers))
      peer.answer('tools/call', { content: [{ type: 'text', text: name }] });
    await troupe.start();
    await troupe.listTools({ servers: ['back'] });
    isDown = true;
    peers.back.close();
    await until(() => troupe.connection('back').state === 'Error', 'the loss');
    isDown = false;
    const waiting = textOf(troupe.callTool('back__x', {}, { timeoutMs: 5_000 }));
    const other = textOf(troupe.callTool('other__y', {}, { timeoutMs: 5_000 }));
    expect(await Promise.all([waiting, other])).toEqual(['back', 'other']);
  });

  it('closes the connection used longest ago, and opens it again when it is needed', async () => {
    const { troupe, gone } = await three({ maxConnections: 2 });
    expect(connected(troupe)).toEqual([]);
    await call(troupe, 'a');
    await call(troupe, 'b');
    await call(troupe, 'a');
    expect(connected(troupe)).toEqual(['a', 'b']);
    expect(await call(troupe, 'c')).toContain('by c');
    expect(gone()).toEqual(['b']);
    expect(connected(troupe)).toEqual(['a', 'c']);
    expect(troupe.connection('b').state).toBe('Disconnected');
    expect(await call(troupe, 'b')).toContain('by b');
    expect(gone()).toEqual(['b', 'a']);
    for (const name of ['a', 'b', 'c', 'c', 'a', 'b'])
      expect(await call(troupe, name)).toContain(`by ${name}`);
    expect(connected(troupe)).toHaveLength(2);
  });

  it('keeps the lists of what it closed, and they are not stale', async () => {
    const { troupe, hosts } = await three({ maxConnections: 1 });
    for (const name of ['a', 'b', 'c']) await call(troupe, name);
    expect(connected(troupe)).toEqual(['c']);
    const asked = hosts.map((host) => host.count('tools/list'));
    const { items, failures } = await troupe.listTools();
    expect(failures).toEqual([]);
    expect(items.map(({ name }) => name)).toEqual(
      ['a', 'b', 'c'].flatMap((name) => ['look', 'set', 'act', 'count'].map((tool) => `${name}__${tool}`)),
    );
    expect(items.filter(({ stale }) => stale !== undefined)).toEqual([]);
    // Nobody was woken for it.
    expect(hosts.map((host) => host.count('tools/list'))).toEqual(asked);
    expect(connected(troupe)).toEqual(['c']);
  });

  it('serves more servers than it has places, all at once', async () => {
    const { troupe, hosts } = await three({ maxConnections: 1 });
    const calls = times(10).flatMap(() => ['a', 'b', 'c'].map((name) => call(troupe, name)));
    const answers = await Promise.all(calls);
    expect(answers.map((text) => text.at(-1))).toEqual(times(10).flatMap(() => ['a', 'b', 'c']));
    expect(hosts.map(({ runs }) => runs.length)).toEqual([10, 10, 10]);
    expect(connected(troupe)).toHaveLength(1);
  });

  it('starts what fits, and the rest when it is asked for', async () => {
    const { troupe } = await three(
      { maxConnections: 2 },
      { a: { lazy: false }, b: { lazy: false }, c: { lazy: false } },
    );
    expect(connected(troupe)).toEqual(['a', 'b']);
    const { items, failures } = await troupe.listTools();
    expect(failures).toEqual([]);
    expect(new Set(items.map(({ server }) => server))).toEqual(new Set(['a', 'b', 'c']));
    expect(await call(troupe, 'c')).toContain('by c');
  });

  it('opens one connection for a hundred first calls', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({ servers: { s: { ...flakyStdio(log), lazy: true } } });
    await troupe.start();
    expect(logged(log, 'spawn')).toBe(0);
    await Promise.all(times(100).map((i) => call(troupe, 's', { nonce: `n${i}` })));
    expect(logged(log, 'spawn')).toBe(1);
    expect(logged(log, 'run act')).toBe(100);
  });

  it('forgets no open breaker with the connection: the sick server is left alone when it is back', async () => {
    const breaker = { minSamples: 3, consecutive: 3, openMs: 60_000 };
    const { troupe, hosts, gone } = await three({ maxConnections: 1 }, { a: { breaker, retry: false } });
    const [a] = hosts;
    if (a === undefined) throw new Error('no server');
    await call(troupe, 'a');
    a.refuse = ({ method }) => (method === 'tools/call' ? { status: 503 } : undefined);
    for (const _ of times(3)) await failureOf(call(troupe, 'a'));
    expect(troupe.fleet.connections[0]?.breaker).toBe('open');
    await call(troupe, 'b');
    expect(gone()).toEqual(['a']);
    expect(troupe.fleet.connections[0]).toMatchObject({ state: 'Disconnected', breaker: 'open' });
    const asked = a.count('tools/call');
    const refused = await failureOf(call(troupe, 'a', {}, { timeoutMs: 5_000 }));
    expect(refused.code).toBe('circuit_open');
    expect(refused.retryAfterMs).toBeGreaterThan(30_000);
    expect(a.count('tools/call')).toBe(asked);
    expect(isConnected(troupe, 'a')).toBe(true);
  });

  it('is unlimited unless it is told otherwise', async () => {
    const { troupe, gone } = await three(undefined);
    for (const name of ['a', 'b', 'c']) await call(troupe, name);
    expect(connected(troupe)).toEqual(['a', 'b', 'c']);
    expect(gone()).toEqual([]);
  });
});

describe('a connection is never closed for another', () => {
  const noRoom = async (troupe: Engine, server = 'b'): Promise<TroupeError> => {
    let error: TroupeError | undefined;
    const elapsed = await timeOf(async () => {
      error = await failureOf(call(troupe, server, {}, { timeoutMs: 300 }));
    });
    expect(elapsed).toBeGreaterThanOrEqual(290);
    expect(elapsed).toBeLessThan(3_000);
    expect(error).toMatchObject({ code: 'queue_full', delivery: 'unsent', server });
    expect(error?.message).toContain('pool.maxConnections');
    expect(error?.retryAfterMs).toBeGreaterThan(0);
    return error as TroupeError;
  };

  it('while it is pinned', async () => {
    const { troupe, gone } = await three({ maxConnections: 1 }, { a: { pinned: true } });
    await call(troupe, 'a');
    await noRoom(troupe);
    expect(connected(troupe)).toEqual(['a']);
    expect(gone()).toEqual([]);
  });

  it('while work is under way: whoever wants in waits for it to end', async () => {
    const { troupe, hosts, gone } = await three({ maxConnections: 1 });
    await call(troupe, 'a');
    const long = call(troupe, 'a', { ms: 700 });
    await until(() => hosts[0]?.runs.length === 2, 'the work to begin');
    await noRoom(troupe);
    expect(gone()).toEqual([]);
    const next = call(troupe, 'b');
    expect(await long).toContain('by a');
    expect(await next).toContain('by b');
    expect(gone()).toEqual(['a']);
  });

  it('while a resource of it is watched', async () => {
    const { troupe, hosts, gone } = await three({ maxConnections: 1 });
    const updates: string[] = [];
    const subscription = await troupe.subscribeResource(
      'mini://a',
      (update) => updates.push(JSON.stringify(update)),
      {
        servers: ['a'],
      },
    );
    await noRoom(troupe);
    await until(() => hosts[0]?.listening === true, 'the stream');
    hosts[0]?.changed('notifications/resources/updated', { uri: 'mini://a' });
    await until(() => updates.length === 1, 'the update');
    expect(gone()).toEqual([]);
    await subscription.close();
    expect(await call(troupe, 'b')).toContain('by b');
    expect(gone()).toEqual(['a']);
  });

  it('while a caller relies on the state of its session', async () => {
    const a = await http({ name: 'a', revision: '2025-11-25' });
    const b = await http({ name: 'b' });
    const troupe = engine({
      pool: { maxConnections: 1 },
      servers: { a: { url: a.url, lazy: true, affinity: 'session' }, b: { url: b.url, lazy: true } },
    });
    await troupe.start();
    const count = () => textOf(troupe.callTool('a__count', {}, { affinity: 'ann' }));
    expect(await count()).toBe('1');
    await noRoom(troupe);
    expect(await count()).toBe('2');
  });

  it('is what replicas count by, each for itself', async () => {
    const [x, y, b] = [await http({ name: 'x' }), await http({ name: 'y' }), await http({ name: 'b' })];
    const troupe = engine({
      pool: { maxConnections: 2 },
      servers: { a: { replicas: [{ url: x.url }, { url: y.url }] }, b: { url: b.url, lazy: true } },
    });
    await troupe.start();
    await until(() => connected(troupe).length === 2, 'both replicas');
    expect(await call(troupe, 'b')).toContain('by b');
    expect(connected(troupe)).toHaveLength(2);
    expect(await call(troupe, 'a')).toContain('act n by');
  });
});

describe('a pool that is full and busy', () => {
  it('lets those in that waited, in the order in which they came', async () => {
    const { troupe, hosts } = await three({ maxConnections: 1 });
    const long = call(troupe, 'a', { ms: 300 });
    await until(() => hosts[0]?.runs.length === 1, 'the work to begin');
    const order: string[] = [];
    const next = ['b', 'c', 'b'].map(async (name) => {
      await call(troupe, name);
      order.push(name);
    });
    await Promise.all([long, ...next]);
    expect(order).toEqual(['b', 'b', 'c']);
  });

  it('forgets who has left', async () => {
    const { troupe, hosts } = await three({ maxConnections: 1 });
    const long = call(troupe, 'a', { ms: 500 });
    await until(() => hosts[0]?.runs.length === 1, 'the work to begin');
    const aborter = new AbortController();
    const left = call(troupe, 'b', {}, { signal: aborter.signal });
    aborter.abort();
    expect((await failureOf(left)).code).toBe('cancelled');
    await long;
    // Nothing was opened for nobody.
    expect(await call(troupe, 'a')).toContain('by a');
    expect(connected(troupe)).toEqual(['a']);
    expect(hosts[1]?.count('server/discover')).toBe(0);
  });
});

describe('stop', () => {
  it('rejects who waits for a place, and opens nothing for them', async () => {
    const { troupe, hosts } = await three({ maxConnections: 1 });
    await call(troupe, 'a');
    const long = call(troupe, 'a', { end: 'hang' });
    await until(() => hosts[0]?.runs.length === 2, 'the work to begin');
    const waiting = [
      call(troupe, 'b'),
      call(troupe, 'b'),
      troupe.readResource('mini://a', { servers: ['c'] }),
    ];
    const failures = Promise.all([long, ...waiting].map((promise) => failureOf(promise)));
    const elapsed = await timeOf(() => troupe.stop({ graceMs: 100 }));
    expect(elapsed).toBeLessThan(3_000);
    expect((await failures).map(({ code }) => code)).toEqual(['stopped', 'stopped', 'stopped', 'stopped']);
    expect(hosts[1]?.seen).toEqual([]);
    expect(hosts[2]?.seen).toEqual([]);
    expect(troupe.fleet.connections.map(({ state }) => state)).toEqual([
      'Disconnected',
      'Disconnected',
      'Disconnected',
    ]);
  });
});

describe('a connection that nobody uses', () => {
  it('is closed after its idle time, listed all the same, and back with the next call', async () => {
    const { troupe, hosts, gone } = await three({ idleMs: 300 }, { b: { pinned: true } });
    await Promise.all(['a', 'b'].map((name) => call(troupe, name)));
    await until(() => troupe.connection('a').state === 'Disconnected', 'the end of the idle one');
    expect(gone()).toEqual(['a']);
    expect(isConnected(troupe, 'b')).toBe(true);
    const { items, failures } = await troupe.listTools({ servers: ['a'] });
    expect(failures).toEqual([]);
    expect(items.map(({ stale }) => stale)).toEqual([undefined, undefined, undefined, undefined]);
    expect(await call(troupe, 'a')).toContain('by a');
    expect(hosts[0]?.runs).toHaveLength(2);
  });

  it('is not closed while it is used', async () => {
    const { troupe, gone } = await three({ idleMs: 1_000 });
    const end = performance.now() + 2_500;
    while (performance.now() < end) await call(troupe, 'a', { ms: 50 });
    expect(gone()).toEqual([]);
  });

  it('ends its process', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({ pool: { idleMs: 200 }, servers: { s: { ...flakyStdio(log), lazy: true } } });
    await troupe.start();
    await call(troupe, 's');
    const pid = troupe.connection('s').process?.pid;
    if (pid === undefined) throw new Error('no process');
    await until(() => troupe.connection('s').state === 'Disconnected', 'the end');
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    await call(troupe, 's');
    expect(logged(log, 'spawn')).toBe(2);
  });
});
