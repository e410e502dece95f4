import { describe, expect, it, jest } from '@jest/globals';
import type { EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { engines, failureOf, heard, hostHearsNothing, pause, textOf, until } from '../support/engines.ts';
import type { FlakyHttp } from '../support/flaky-http.mjs';
import { flakyHttps } from '../support/flaky.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();

const ERAS = ['2025-11-25', '2026-07-28'] as const;
const URI = 'mini://a';
const DAY = 86_400_000;
const KEPT = { resources: { ttlMs: DAY }, lists: { ttlMs: DAY } } as const;
const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Says how often the server had been read when it gave this: 1, 2, … */
const read = async (of: Engine, options = {}): Promise<number> =>
  numberOf(await of.readResource(URI, options));
function numberOf(result: Json): number {
  const { contents } = result as { contents: ReadonlyArray<{ text: string }> };
  return Number(contents[0]?.text.split(' ')[1]);
}

async function single(
  settings: ServerConfig,
  revision?: string,
  more: EngineConfig = {},
): Promise<{ server: FlakyHttp; troupe: Engine }> {
  const server = await http(revision === undefined ? {} : { revision });
  const troupe = engine({ ...more, servers: { s: { url: server.url, ...settings } } });
  await troupe.start();
  await Promise.all([troupe.listTools(), troupe.listResources()]);
  await until(() => server.listening, 'the stream of changes');
  return { server, troupe };
}

/** The server tells, and the engine has heard it. */
async function told(troupe: Engine, server: FlakyHttp, method: string, params = {}): Promise<void> {
  const notified = heard(troupe, 'server.notified');
  server.changed(method, params);
  await until(() => notified.some((event) => event.method === method), method);
}

describe.each(ERAS)('a server of revision %s', (revision) => {
  it('is read once while the answer is fresh', async () => {
    const { server, troupe } = await single({ cache: KEPT }, revision);
    // A modern server says how long by itself.
    server.hints = () => ({ ttlMs: 60_000 });
    const settled = heard(troupe, 'request.settled');
    expect([await read(troupe), await read(troupe), await read(troupe)]).toEqual([1, 1, 1]);
    expect(settled.map(({ cache }) => cache)).toEqual(['miss', 'hit', 'hit']);
    expect(await read(troupe, { cache: 'refresh' })).toBe(2);
    expect(await read(troupe)).toBe(2);
    expect(await read(troupe, { cache: 'bypass' })).toBe(3);
    expect(await read(troupe)).toBe(2);
    expect(server.count('resources/read')).toBe(3);
  });

  it('is read again once it says that the resource changed', async () => {
    const { server, troupe } = await single({ cache: KEPT }, revision);
    server.hints = () => ({ ttlMs: 60_000 });
    const updates: string[] = [];
    await troupe.subscribeResource(URI, ({ uri }) => updates.push(uri));
    expect([await read(troupe), await read(troupe)]).toEqual([1, 1]);
    await told(troupe, server, 'notifications/resources/updated', { uri: URI });
    expect(updates).toEqual([URI]);
    expect([await read(troupe), await read(troupe)]).toEqual([2, 2]);
  });

  it('is listed again once it says that the list changed', async () => {
    const { server, troupe } = await single({ cache: KEPT }, revision);
    let version = 1;
    server.hints = () => ({ ttlMs: 60_000, version });
    const list = async (): Promise<unknown> =>
      (await troupe.request({ method: 'resources/list', server: 's' }))['version'];
    expect([await list(), await list()]).toEqual([1, 1]);
    version = 2;
    expect(await list()).toBe(1);
    await told(troupe, server, 'notifications/resources/list_changed');
    expect([await list(), await list()]).toEqual([2, 2]);
  });

  it('is listed again in the catalog', async () => {
    const { server, troupe } = await single({}, revision);
    const names = async (): Promise<string[]> => (await troupe.listTools()).items.map(({ name }) => name);
    expect(await names()).not.toContain('s__new');
    server.tools = [...server.tools, { name: 'new', inputSchema: { type: 'object' } }];
    const changed = heard(troupe, 'catalog.changed');
    server.changed('notifications/tools/list_changed');
    await until(() => changed.some(({ kinds }) => kinds.includes('tools')), 'the list');
    expect(await names()).toContain('s__new');
  });

  it('is read again after a time in which it could not say that something changed', async () => {
    const { server, troupe } = await single({ cache: KEPT }, revision);
    server.hints = () => ({ ttlMs: 60_000 });
    await troupe.subscribeResource(URI, () => {});
    expect([await read(troupe), await read(troupe)]).toEqual([1, 1]);
    const changes = heard(troupe, 'connection.changed');
    const notified = heard(troupe, 'server.notified');
    await server.kill();
    await server.restart();
    // A legacy session is gone with its server; a modern one has a new stream of changes.
    await until(
      () =>
        changes.some(({ to }) => to === 'Connected') ||
        notified.some(({ method }) => method.endsWith('list_changed')),
      'the connection or the stream',
    );
    const before = server.count('resources/read');
    await read(troupe);
    expect(server.count('resources/read')).toBe(before + 1);
  });

  it('does not get its answer kept if the change came while it answered', async () => {
    const { server, troupe } = await single({ cache: KEPT }, revision);
    server.hints = () => ({ ttlMs: 60_000 });
    await troupe.subscribeResource(URI, () => {});
    server.order = ({ method }) => (method === 'resources/read' ? { ms: 300 } : undefined);
    const first = read(troupe);
    await until(() => server.count('resources/read') === 1, 'the read to arrive');
    await told(troupe, server, 'notifications/resources/updated', { uri: URI });
    expect(await first).toBe(1);
    server.order = undefined;
    expect(await read(troupe)).toBe(2);
  });
});

describe('how long an answer is fresh', () => {
  it('is what the server says', async () => {
    const { server, troupe } = await single({ cache: KEPT });
    server.hints = () => ({ ttlMs: 500 });
    expect([await read(troupe), await read(troupe)]).toEqual([1, 1]);
    await until(async () => (await read(troupe)) === 2, 'the end of its time');
    server.hints = () => ({ ttlMs: 0 });
    await until(async () => (await read(troupe)) === 3, 'the end of its time');
    // Zero is a word, too, although the configuration would keep it for a day.
    expect([await read(troupe), await read(troupe)]).toEqual([4, 5]);
  });

  it('is what the configuration says where the server says nothing', async () => {
    const { troupe } = await single({ cache: { resources: { ttlMs: 400 } } }, '2025-11-25');
    expect([await read(troupe), await read(troupe)]).toEqual([1, 1]);
    await until(async () => (await read(troupe)) === 2, 'the end of its time');
  });

  it('is no time at all unless somebody says something', async () => {
    const { troupe } = await single({}, '2025-11-25');
    expect([await read(troupe), await read(troupe)]).toEqual([1, 2]);
  });

  it('is the shortest of all in an aggregated list, for the fewest', async () => {
    const hints = [
      { ttlMs: 60_000, cacheScope: 'public' },
      { ttlMs: 1_000, cacheScope: 'public' },
      { ttlMs: 5_000, cacheScope: 'private' },
    ];
    const servers = await Promise.all(
      hints.map(async (given) => {
        const server = await http();
        server.hints = () => given;
        return server;
      }),
    );
    const names = ['a', 'b', 'c'];
    const troupe = engine({
      servers: Object.fromEntries(servers.map(({ url }, i) => [names[i] ?? '', { url }])),
    });
    await troupe.start();
    const all = await troupe.listResources();
    expect(all.cacheScope).toBe('private');
    expect(all.ttlMs).toBeGreaterThan(0);
    expect(all.ttlMs).toBeLessThanOrEqual(1_000);
    const open = await troupe.listResources({ servers: ['a'] });
    expect(open.cacheScope).toBe('public');
    expect(open.ttlMs).toBeGreaterThan(5_000);
  });

  it('does not matter where it is too large to keep', async () => {
    const { server, troupe } = await single({ cache: { resources: { ttlMs: DAY, maxBytes: 2_000 } } });
    server.hints = () => ({ ttlMs: 60_000, filling: 'x'.repeat(3_000) });
    expect([await read(troupe), await read(troupe)]).toEqual([1, 2]);
    server.hints = () => ({ ttlMs: 60_000 });
    expect([await read(troupe), await read(troupe)]).toEqual([3, 3]);
  });
});

describe('an answer is nobody else’s', () => {
  it('whose principal is another, unless the server says that it is for all', async () => {
    const { server, troupe } = await single({ cache: KEPT });
    server.hints = () => ({ ttlMs: 60_000, cacheScope: 'private' });
    const asAnn = { principal: 'ann' };
    const asBob = { principal: { id: 'bob' } };
    expect([await read(troupe, asAnn), await read(troupe, asBob), await read(troupe)]).toEqual([1, 2, 3]);
    expect([await read(troupe, asAnn), await read(troupe, asBob), await read(troupe)]).toEqual([1, 2, 3]);
    server.hints = () => ({ ttlMs: 60_000, cacheScope: 'public' });
    expect(await read(troupe, { principal: 'eve' })).toBe(4);
    expect(await read(troupe, { principal: 'joe' })).toBe(4);
    // Their own are the nearer ones still.
    expect(await read(troupe, asAnn)).toBe(1);
  });

  it('while it is under way, either', async () => {
    const { server, troupe } = await single({ cache: KEPT });
    server.hints = () => ({ ttlMs: 60_000 });
    server.order = () => ({ ms: 100 });
    const answers = await Promise.all(['ann', 'bob', 'ann'].map((principal) => read(troupe, { principal })));
    expect(answers[0]).toBe(answers[2]);
    expect(answers[0]).not.toBe(answers[1]);
    expect(server.count('resources/read')).toBe(2);
  });

  it('whose server is another, however alike they say to be', async () => {
    const [a, b] = [await http({ name: 'twin' }), await http({ name: 'twin' })];
    const troupe = engine({ cache: KEPT, servers: { a: { url: a.url }, b: { url: b.url } } });
    await troupe.start();
    expect(new Set(troupe.fleet.connections.map(({ serverInfo }) => JSON.stringify(serverInfo))).size).toBe(
      1,
    );
    for (const server of [a, b]) server.hints = () => ({ ttlMs: 60_000, cacheScope: 'public' });
    const from = (server: string): Promise<number> => read(troupe, { servers: [server] });
    await from('a');
    await from('a');
    await from('b');
    expect([a.count('resources/read'), b.count('resources/read')]).toEqual([1, 1]);
  });

  it('whatever one does to it', async () => {
    const { server, troupe } = await single({ cache: KEPT });
    server.hints = () => ({ ttlMs: 60_000 });
    server.order = () => ({ ms: 50 });
    const [one, other] = await Promise.all([troupe.readResource(URI), troupe.readResource(URI)]);
    (one as { contents: unknown[] }).contents.length = 0;
    expect(numberOf(other ?? {})).toBe(1);
    const kept = (await troupe.readResource(URI)) as { contents: Array<{ text: string }> };
    expect(() => kept.contents.pop()).toThrow(TypeError);
    expect(await read(troupe)).toBe(1);
  });
});

describe('a server that cannot be asked any more', () => {
  it('is answered for with what it said before, for a while', async () => {
    const { server, troupe } = await single({ retry: false, timeoutMs: 2_000 });
    server.hints = () => ({ ttlMs: 1 });
    expect(await read(troupe)).toBe(1);
    await pause(5);
    await server.kill();
    const settled = heard(troupe, 'request.settled');
    expect(await read(troupe)).toBe(1);
    expect(await read(troupe)).toBe(1);
    expect(settled.map(({ cache, ok }) => [cache, ok])).toEqual([
      ['stale', true],
      ['stale', true],
    ]);
    // Nobody else's, not even now, and nothing that it never said.
    expect((await failureOf(read(troupe, { principal: 'bob' }))).code).toMatch(/unavailable|connection_lost/);
    expect((await failureOf(read(troupe, { cache: 'bypass' }))).code).toMatch(/unavailable|connection_lost/);
    await server.restart();
    await until(async () => (await read(troupe)) !== 1 || settled.at(-1)?.cache === 'miss', 'a fresh answer');
  });

  it('is not answered for where it did answer, with an error', async () => {
    const { server, troupe } = await single({});
    server.hints = () => ({ ttlMs: 1 });
    expect(await read(troupe)).toBe(1);
    await pause(5);
    server.order = () => ({ error: { code: -32_602, message: 'no such thing any more' } });
    expect((await failureOf(read(troupe))).code).toBe('protocol_error');
  });
});

describe('identical reads at the same time', () => {
  const held = async () => {
    const { server, troupe } = await single({});
    let release = (): void => {};
    const gate = new Promise<undefined>((resolve) => (release = () => resolve(undefined)));
    server.order = ({ method }) => (method === 'resources/read' ? gate : undefined);
    return { server, troupe, release };
  };
  const arrived = (server: FlakyHttp): Promise<void> =>
    until(() => server.count('resources/read') === 1, 'the read to arrive');

  it('are one request', async () => {
    const { server, troupe, release } = await held();
    const settled = heard(troupe, 'request.settled');
    const reads = times(50).map(() => read(troupe));
    await arrived(server);
    release();
    expect(new Set(await Promise.all(reads))).toEqual(new Set([1]));
    expect(server.count('resources/read')).toBe(1);
    expect(settled.filter(({ cache }) => cache === 'shared')).toHaveLength(49);
    // Nothing of it was kept.
    expect(await read(troupe)).toBe(2);
  });

  it('lose only the caller who leaves', async () => {
    const { server, troupe, release } = await held();
    const aborter = new AbortController();
    const leaving = read(troupe, { signal: aborter.signal });
    const staying = times(3).map(() => read(troupe));
    await arrived(server);
    aborter.abort();
    expect(await failureOf(leaving)).toMatchObject({ code: 'cancelled' });
    release();
    expect(await Promise.all(staying)).toEqual([1, 1, 1]);
    expect(server.cancelled).toEqual([]);
    expect(server.count('resources/read')).toBe(1);
  });

  it('end at the server when the last caller has left', async () => {
    const { server, troupe } = await held();
    const aborters = times(3).map(() => new AbortController());
    const failures = aborters.map(({ signal }) => failureOf(read(troupe, { signal })));
    await arrived(server);
    for (const aborter of aborters) aborter.abort();
    expect((await Promise.all(failures)).map(({ code }) => code)).toEqual([
      'cancelled',
      'cancelled',
      'cancelled',
    ]);
    await until(() => server.cancelled.length === 1, 'the end at the server');
  });

  it('keep their own deadlines', async () => {
    const { server, troupe, release } = await held();
    const patient = read(troupe, { timeoutMs: 10_000 });
    const hasty = failureOf(read(troupe, { timeoutMs: 100 }));
    await arrived(server);
    expect((await hasty).code).toBe('deadline_exceeded');
    release();
    expect(await patient).toBe(1);
  });

  it('are not alike where one asks for another thing, and what acts never is', async () => {
    const { server, troupe } = await single({});
    server.order = () => ({ ms: 50 });
    await Promise.all([
      read(troupe),
      troupe.readResource('mini://b'),
      read(troupe, { meta: { tenant: 'x' } }),
      ...times(5).map(() => troupe.callTool('s__act', { nonce: 'same' })),
    ]);
    expect(server.count('resources/read')).toBe(3);
    expect(server.runs).toHaveLength(5);
  });
});

describe('results of tools', () => {
  const opted = { cache: { tools: { ttlMs: DAY } } };

  it.each([
    ['of a trusted server, for a tool that changes nothing', 'look', { ...opted, trusted: true }, 1],
    ['not where nobody opted in', 'look', { trusted: true }, 3],
    ['not of a server that nobody trusts', 'look', opted, 3],
    ['not for a tool that changes something, if only once', 'set', { ...opted, trusted: true }, 3],
    ['not for a tool that acts', 'act', { ...opted, trusted: true }, 3],
  ])('are kept %s', async (_, tool, settings, runs) => {
    const { server, troupe } = await single(settings);
    for (const _i of times(3))
      expect(await textOf(troupe.callTool(`s__${tool}`, { nonce: 'n' }))).toContain('n by');
    expect(server.runs).toHaveLength(runs);
    // Other arguments are another question.
    await troupe.callTool(`s__${tool}`, { nonce: 'other' });
    expect(server.runs).toHaveLength(runs + 1);
  });

  it('are not kept where the tool failed', async () => {
    const { server, troupe } = await single({ ...opted, trusted: true });
    for (const _ of times(2)) await troupe.callTool('s__look', { nonce: 'n', end: 'fail' });
    expect(server.runs).toHaveLength(2);
  });
});
