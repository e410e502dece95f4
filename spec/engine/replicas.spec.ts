import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import { createEngine } from '../../lib/engine/engine.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import {
  QUICK,
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  logLines,
  textOf,
  until,
} from '../support/engines.ts';
import { flakyHttps, flakyStdio, nonce, runsOf } from '../support/flaky.ts';
import { TOOLS } from '../support/flaky-server.mjs';
import { temporaryDirectories } from '../support/temp-dir.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();
const directory = temporaryDirectories();

const LEGACY = '2025-11-25';
const act = (of: Engine, options = {}, server = 's'): Promise<string> =>
  textOf(of.callTool(`${server}__act`, { nonce: nonce() }, options));
/** Who answered: the server says its name. */
const answerer = async (of: Engine, server = 's'): Promise<string> =>
  (await act(of, {}, server)).split(' by ')[1] ?? '';
const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe('replicas', () => {
  it('take turns over 1,000 calls, without a session id', async () => {
    const a = await http({ name: 'a' });
    const b = await http({ name: 'b' });
    const troupe = engine({
      servers: { s: { replicas: [{ url: a.url }, { url: b.url }], routing: 'round-robin' } },
    });
    await troupe.start();
    const order: string[] = [];
    for (const _ of times(50)) order.push(...(await Promise.all(times(20).map(() => answerer(troupe)))));
    const [first, second] = order;
    expect(new Set([first, second])).toEqual(new Set(['a', 'b']));
    expect(order).toEqual(times(1_000).map((i) => (i % 2 === 0 ? first : second)));
    for (const server of [a, b]) {
      expect(server.runs).toHaveLength(500);
      expect(server.seen.every(({ headers }) => headers['mcp-session-id'] === undefined)).toBe(true);
    }
    expect(new Set([...a.runs, ...b.runs].map((run) => run.nonce)).size).toBe(1_000);
  });

  it('may be of different eras', async () => {
    const a = await http({ name: 'a' });
    const b = await http({ name: 'b', revision: LEGACY });
    const troupe = engine({
      servers: { s: { replicas: [{ url: a.url }, { url: b.url }], routing: 'round-robin' } },
    });
    await troupe.start();
    expect(troupe.fleet.connections.map(({ era, availability }) => [era, availability])).toEqual([
      ['modern', 'usable'],
      ['legacy', 'usable'],
    ]);
    for (const _ of times(10)) await act(troupe);
    expect([a.runs.length, b.runs.length]).toEqual([5, 5]);
  });

  it('share by weight', async () => {
    const a = await http({ name: 'a' });
    const b = await http({ name: 'b' });
    const replicas = [{ url: a.url, weight: 3 }, { url: b.url }];
    const troupe = engine({ servers: { s: { replicas, routing: 'weighted-round-robin' } } });
    await troupe.start();
    for (const _ of times(40)) await act(troupe);
    expect([a.runs.length, b.runs.length]).toEqual([30, 10]);
  });

  it('lose none of the work to one that is killed: reads go on elsewhere, what acts is never run twice', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({
      servers: { s: { ...flakyStdio(log), replicas: 3, trusted: true, routing: 'round-robin' } },
    });
    await troupe.start();
    const settled = heard(troupe, 'request.settled');
    const calls = times(24).map((i) => {
      const tool = i % 2 === 0 ? 'look' : 'act';
      const id = nonce();
      return { tool, id, result: textOf(troupe.callTool(`s__${tool}`, { nonce: id, ms: 400 })) };
    });
    const outcomes = Promise.allSettled(calls.map(({ result }) => result));
    await until(
      () => logLines(log).filter((line) => line.startsWith('run')).length === 24,
      'all runs to begin',
    );
    const victim = troupe.connection('s#1').process?.pid;
    if (victim === undefined) throw new Error('no process');
    process.kill(victim, 'SIGKILL');
    await outcomes;
    let unknown = 0;
    for (const { tool, id, result } of calls) {
      const runs = runsOf(log, id);
      if (tool === 'look') {
        expect(await result).toContain(id);
        expect(runs).toBeLessThanOrEqual(2);
        continue;
      }
      expect(runs).toBe(1);
      const error = await result.then(
        () => undefined,
        (cause: unknown) => cause,
      );
      if (error === undefined) continue;
      expect(error).toMatchObject({
        code: 'outcome_unknown',
        delivery: 'sent',
        server: 's',
        connection: 's#1',
      });
      unknown += 1;
    }
    const begun = logLines(log).filter((line) => line.startsWith('run') && line.endsWith(` ${victim}`));
    expect(begun.length).toBeGreaterThan(1);
    expect(unknown).toBe(begun.filter((line) => line.startsWith('run act')).length);
    // Within one further attempt, and at another replica.
    expect(Math.max(...settled.map(({ attempts }) => attempts))).toBe(2);
    expect(
      settled.filter(({ attempts }) => attempts === 2).every(({ connection }) => connection !== 's#1'),
    ).toBe(true);
    await until(() => isConnected(troupe, 's#1'), 'the replica');
  });

  it('are asked in vain only once: what was not sent goes to the next in the same attempt, and costs no budget', async () => {
    const a = await http({ name: 'a' });
    const b = await http({ name: 'b' });
    const troupe = engine({
      restart: { ...QUICK, baseMs: 5_000, capMs: 5_000 },
      // Nothing is ever retried: neither twice, nor out of a budget.
      servers: {
        s: {
          replicas: [{ url: a.url }, { url: b.url }],
          routing: 'round-robin',
          retry: false,
          breaker: false,
        },
      },
    });
    await troupe.start();
    await a.kill();
    // A crowd at once, each about to be sent to either.
    const answers = await Promise.all(times(100).map(() => answerer(troupe)));
    expect(answers).toEqual(times(100).map(() => 'b'));
    for (const _ of times(20)) expect(await answerer(troupe)).toBe('b');
    expect(b.runs).toHaveLength(120);
    expect(a.runs).toHaveLength(0);
  });
});

describe('state of a legacy session', () => {
  const pair = async () => {
    const servers = [
      await http({ name: 'a', revision: LEGACY }),
      await http({ name: 'b', revision: LEGACY }),
    ];
    const troupe = engine({
      servers: {
        s: {
          replicas: servers.map(({ url }) => ({ url })),
          affinity: 'session',
          routing: 'round-robin',
          probe: { intervalMs: 20, timeoutMs: 1_000, failures: 1 },
        },
      },
    });
    await troupe.start();
    const settled = heard(troupe, 'request.settled');
    const count = async (affinity: string): Promise<number> =>
      Number(await textOf(troupe.callTool('s__count', {}, { affinity })));
    /** Index of the replica that has the state of this key. */
    const home = async (affinity: string): Promise<number> => {
      await count(affinity);
      return Number(settled.at(-1)?.connection?.split('#')[1]);
    };
    return { servers, troupe, count, home };
  };

  it('stays where it is, whatever the strategy would do', async () => {
    const { count, home } = await pair();
    const keys = ['ann', 'bob', 'eve', 'joe', 'kim', 'leo'];
    const homes = await Promise.all(keys.map((key) => home(key)));
    for (const _ of times(5)) for (const [i, key] of keys.entries()) expect(await home(key)).toBe(homes[i]);
    // Twelve of the counts are of two sessions: nothing was counted elsewhere.
    expect((await count('ann')) + (await count(keys[homes.findIndex((h) => h !== homes[0])] ?? 'ann'))).toBe(
      38,
    );
  });

  it('outlives a reconnect of the other replica, and is lost with its own: once, typed', async () => {
    const { servers, troupe, count, home } = await pair();
    const mine = await home('ann');
    const other = 1 - mine;
    await servers[other]?.kill();
    await until(() => !isConnected(troupe, `s#${other}`), 'the loss of the other');
    expect(await count('ann')).toBe(2);
    await servers[other]?.restart();
    await until(() => isConnected(troupe, `s#${other}`), 'the other');
    expect(await count('ann')).toBe(3);

    await servers[mine]?.kill();
    expect(await failureOf(count('ann'))).toMatchObject({
      code: 'affinity_lost',
      delivery: 'unsent',
      server: 's',
      connection: `s#${mine}`,
    });
    // Whoever begins anew does so at the replica that is left.
    expect(await count('ann')).toBe(1);
    expect(await home('ann')).toBe(other);
  });

  it('is known to be lost when its replica comes back without it', async () => {
    const { servers, troupe, count, home } = await pair();
    const mine = await home('ann');
    await servers[mine]?.kill();
    await until(() => !isConnected(troupe, `s#${mine}`), 'the loss');
    await servers[mine]?.restart();
    await until(() => isConnected(troupe, `s#${mine}`), 'its return');
    expect((await failureOf(count('ann'))).code).toBe('affinity_lost');
  });
});

describe('replicas with other tools than the rest', () => {
  it('are asked only when nothing else is left', async () => {
    const odd = await http({
      name: 'odd',
      tools: [...TOOLS, { name: 'extra', inputSchema: { type: 'object' } }],
    });
    const a = await http({ name: 'a' });
    const b = await http({ name: 'b' });
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, error() {}, warn: (text: string) => void warnings.push(text) };
    const troupe = engine({
      logger,
      restart: { ...QUICK, baseMs: 5_000, capMs: 5_000 },
      servers: { s: { replicas: [odd, a, b].map(({ url }) => ({ url })), routing: 'round-robin' } },
    });
    await troupe.start();
    await until(() => troupe.fleet.connections[0]?.availability === 'suspect', 'the odd one to be found');
    expect(troupe.fleet.connections.map(({ availability }) => availability)).toEqual([
      'suspect',
      'usable',
      'usable',
    ]);
    expect(warnings.filter((text) => text.includes('other tools')).length).toBeGreaterThan(0);
    for (const _ of times(10)) await act(troupe);
    expect([odd.runs.length, a.runs.length, b.runs.length]).toEqual([0, 5, 5]);
    await a.kill();
    await b.kill();
    expect(await answerer(troupe)).toBe('odd');
  });
});

describe('a watched resource of replicas', () => {
  it.each([LEGACY, '2026-07-28'])(
    'is watched at one of them, and at another when that is gone (%s)',
    async (revision) => {
      const servers = [await http({ name: 'a', revision }), await http({ name: 'b', revision })];
      const troupe = engine({
        restart: { ...QUICK, baseMs: 20_000, capMs: 20_000 },
        servers: {
          s: {
            replicas: servers.map(({ url }) => ({ url })),
            probe: { intervalMs: 20, timeoutMs: 1_000, failures: 1 },
          },
        },
      });
      await troupe.start();
      const updates: string[] = [];
      await troupe.subscribeResource('mini://a', ({ uri }) => updates.push(uri));
      await until(() => servers.every(({ listening }) => listening), 'both streams');
      const tell = (): void =>
        servers.forEach((server) => server.changed('notifications/resources/updated', { uri: 'mini://a' }));
      const notified = heard(troupe, 'server.notified');
      tell();
      await until(() => updates.length > 0, 'the update');
      const first = Number(notified[0]?.connection.split('#')[1]);
      if (revision !== LEGACY) expect(updates).toHaveLength(1);
      await servers[first]?.kill();
      await until(() => !isConnected(troupe, `s#${first}`), 'the loss');
      updates.length = 0;
      await until(() => {
        servers[1 - first]?.changed('notifications/resources/updated', { uri: 'mini://a' });
        return updates.length > 0;
      }, 'an update of the other');
      expect(notified.at(-1)?.connection).toBe(`s#${1 - first}`);
    },
  );
});

describe('tiers', () => {
  it('are asked in order, and left again when the one before is back', async () => {
    const first = await http({ name: 'first' });
    const second = await http({ name: 'second' });
    const troupe = engine({ servers: { s: { tiers: [[{ url: first.url }], [{ url: second.url }]] } } });
    await troupe.start();
    for (const _ of times(5)) expect(await answerer(troupe)).toBe('first');
    await first.kill();
    expect(await answerer(troupe)).toBe('second');
    await first.restart();
    await until(() => isConnected(troupe, 's#0'), 'the first');
    expect(await answerer(troupe)).toBe('first');
    expect(second.runs).toHaveLength(1);
  });
});

describe('equivalent servers', () => {
  const restart = { ...QUICK, baseMs: 5_000, capMs: 5_000 };

  it('answer for one that is down', async () => {
    const main = await http({ name: 'main' });
    const spare = await http({ name: 'spare' });
    const troupe = engine({
      restart,
      servers: { main: { url: main.url, equivalentTo: 'spare' }, spare: { url: spare.url } },
    });
    await troupe.start();
    expect(await answerer(troupe, 'main')).toBe('main');
    await main.kill();
    const settled = heard(troupe, 'request.settled');
    expect(await answerer(troupe, 'main')).toBe('spare');
    expect(settled[0]).toMatchObject({ ok: true, target: 'main__act', server: 'spare', connection: 'spare' });
  });

  it('answer for one that never came up', async () => {
    const main = await http({ name: 'main' });
    const spare = await http({ name: 'spare' });
    await main.kill();
    const troupe = engine({
      restart,
      servers: { main: { url: main.url, equivalentTo: 'spare' }, spare: { url: spare.url } },
    });
    await troupe.start();
    expect(await answerer(troupe, 'main')).toBe('spare');
    expect((await failureOf(troupe.callTool('main__nothing'))).code).toBe('protocol_error');
  });

  it('are not asked for what may have run', async () => {
    const log = join(directory(), 'log');
    const spare = await http({ name: 'spare' });
    const troupe = engine({
      restart,
      servers: { main: { ...flakyStdio(log), equivalentTo: ['spare'] }, spare: { url: spare.url } },
    });
    await troupe.start();
    const id = nonce();
    expect(await failureOf(troupe.callTool('main__act', { nonce: id, end: 'die' }))).toMatchObject({
      code: 'outcome_unknown',
      server: 'main',
    });
    expect(runsOf(log, id)).toBe(1);
    expect(spare.runs).toHaveLength(0);
    // A read may be, and so may what was never sent.
    expect(await answerer(troupe, 'main')).toBe('spare');
  });

  it('are a chain, and all of it down is one typed error', async () => {
    const last = await http({ name: 'last' });
    const troupe = engine({
      restart: QUICK,
      servers: {
        one: { command: 'no-such-program-anywhere', equivalentTo: ['two', 'last'] },
        two: { command: 'no-such-program-anywhere' },
        last: { url: last.url },
      },
    });
    await troupe.start();
    const ask = () =>
      troupe.request({
        method: 'tools/call',
        params: { name: 'act', arguments: { nonce: 'n' } },
        server: 'one',
      });
    expect(await textOf(ask())).toBe('act n by last');
    await last.kill();
    expect(await failureOf(ask())).toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
      server: expect.any(String),
    });
  });
});

describe('what a configuration of replicas may not say', () => {
  const url = 'http://127.0.0.1:1/mcp';
  const refused = (servers: Record<string, object>) => {
    try {
      createEngine({ servers } as never);
    } catch (error) {
      return error;
    }
    throw new Error('it was accepted');
  };

  it.each([
    [
      'a circle of equivalents',
      { b: { url, equivalentTo: 'a' }, a: { url, equivalentTo: 'b' } },
      'equivalentTo',
      'b → a → b',
    ],
    ['an equivalent that is not there', { a: { url, equivalentTo: 'zzz' } }, 'equivalentTo', 'no server'],
    ['a negative weight', { a: { replicas: [{ url, weight: -1 }, { url }] } }, 'weight', '-1'],
    ['a weight of nothing', { a: { replicas: [{ url, weight: 0 }] } }, 'weight', '0'],
    [
      'an unknown strategy',
      { a: { url, routing: 'round-robbin' } },
      'routing.strategy',
      'did you mean round-robin',
    ],
    [
      'an option that the strategy does not take',
      { a: { url, routing: { strategy: 'p2c', choice: 2 } } },
      'routing',
      'choice',
    ],
    [
      'a strategy without pick',
      { a: { url, routing: { strategy: { name: 'x' } } } },
      'routing.strategy',
      'init and pick',
    ],
    ['replicas beside tiers', { a: { replicas: [{ url }], tiers: [[{ url }]] } }, 'replicas', 'tiers'],
    ['no replica', { a: { replicas: [] } }, 'replicas', 'empty'],
  ])('%s', (_, servers, field, words) => {
    const error = refused(servers);
    expect(error).toMatchObject({ code: 'config_invalid', server: 'a' });
    expect((error as Error).message).toContain(field);
    expect((error as Error).message).toContain(words);
  });

  it('changes nothing when it comes while running', async () => {
    const a = await http({ name: 'a' });
    const troupe = engine({ servers: { s: { url: a.url } } });
    await troupe.start();
    const wrong = { servers: { t: { url: a.url, routing: { strategy: 'p2c', choice: 2 } } } };
    expect((await failureOf(troupe.reconfigure(wrong))).code).toBe('config_invalid');
    expect(await answerer(troupe)).toBe('a');
    expect(troupe.fleet.servers.map(({ name }) => name)).toEqual(['s']);
  });
});

describe("a strategy of the host's own", () => {
  const asked = async (strategy: RoutingStrategy<never>, calls = 6) => {
    const servers = [await http({ name: 'a' }), await http({ name: 'b' })];
    const faults: string[] = [];
    const logger = {
      debug() {},
      info() {},
      error() {},
      warn: (_: string, facts: unknown) => void faults.push((facts as { error: string }).error),
    };
    const troupe = engine({
      logger,
      servers: { s: { replicas: servers.map(({ url }) => ({ url })), routing: { strategy } } },
    });
    await troupe.start();
    for (const _ of times(calls)) await act(troupe);
    return { runs: servers.map(({ runs }) => runs.length), faults };
  };

  it('decides', async () => {
    const lastOne = {
      name: 'last-one',
      init: () => null,
      pick: (_: null, { candidates }: { candidates: readonly number[] }) => candidates.at(-1) ?? -1,
    };
    expect(await asked(lastOne as never)).toEqual({ runs: [0, 6], faults: [] });
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('defect');
      },
      'threw in pick (defect)',
    ],
    ['picks what is no candidate', () => 7, 'picked 7'],
    ['picks no number', () => NaN, 'picked NaN'],
    ['waits although nothing is under way', () => -1, 'asked to wait'],
  ])('that %s costs nobody a call and is told once', async (_, pick, words) => {
    const { runs, faults } = await asked({ name: 'broken', init: () => null, pick } as never);
    expect(runs[0]! + runs[1]!).toBe(6);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain('[internal] s: routing strategy "broken"');
    expect(faults[0]).toContain(words);
  });
});

describe('routing by pattern', () => {
  it('sends a resource where the host says, whoever lists it', async () => {
    const a = await http({ name: 'a' });
    const b = await http({ name: 'b' });
    const c = await http({ name: 'c' });
    const servers = { a: { url: a.url }, b: { url: b.url }, c: { url: c.url } };
    const troupe = engine({
      routes: [
        { match: 'mini://a', to: ['c', 'b'] },
        { match: 'file:///**', to: 'b' },
      ],
      servers,
    });
    await troupe.start();
    const reader = async (uri: string): Promise<string> => {
      const { contents } = (await troupe.readResource(uri)) as { contents: ReadonlyArray<{ text: string }> };
      return contents[0]?.text.split(' ')[0] ?? '';
    };
    expect(await reader('mini://a')).toBe('c');
    expect(await reader('file:///etc/hosts')).toBe('b');
    expect(a.count('resources/read')).toBe(0);
    // `servers` of a call is the nearer word.
    expect(await troupe.readResource('mini://a', { servers: ['a'] })).toMatchObject({
      contents: [{ text: 'a 1' }],
    });
  });

  it('names a server that is there', () => {
    const wrong = () => createEngine({ servers: {}, routes: [{ match: 'file://**', to: 'files' }] });
    expect(wrong).toThrow(/config_invalid.*there is no server "files"/);
  });
});
