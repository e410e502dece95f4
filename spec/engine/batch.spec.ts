import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import type { BatchResult, Engine, RawRequest } from '../../lib/engine/contract.ts';
import type { ServerConfig } from '../../lib/config/config.ts';
import { engines, failureOf, hostHearsNothing, logLines, pause, textOf, until } from '../support/engines.ts';
import { flakyHttps, flakyStdio } from '../support/flaky.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();
const directory = temporaryDirectories();

const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const act = (nonce: string | number, more = {}): RawRequest => ({
  method: 'tools/call',
  params: { name: 's__act', arguments: { nonce: String(nonce), ...more } },
});
const acts = (n: number): RawRequest[] => times(n).map((i) => act(i));

/** The nonce that each result tells, or the code of its error. */
function told(results: readonly BatchResult[]): string[] {
  return results.map((r) => {
    if (!r.ok) return r.error.code;
    const { content } = r.result as { content: ReadonlyArray<{ text: string }> };
    return content[0]?.text.split(' ')[1] ?? '';
  });
}

/** The lists that the engine fetches by itself are there. */
async function listed(of: Engine): Promise<void> {
  await Promise.all([of.listTools(), of.listPrompts(), of.listResources(), of.listResourceTemplates()]);
}

async function over(revision: string, settings: ServerConfig = {}) {
  const server = await http({ revision });
  const troupe = engine({ servers: { s: { url: server.url, ...settings } } });
  await troupe.start();
  await listed(troupe);
  await until(() => server.listening, 'the stream of changes');
  const before = server.posts.length;
  return { server, troupe, posts: () => server.posts.slice(before) };
}

describe('a batch of nothing', () => {
  it('is nothing, and nothing is sent', async () => {
    const { troupe, posts } = await over('2025-03-26');
    expect(await troupe.batch([])).toEqual([]);
    expect(posts()).toEqual([]);
  });

  it('is refused where it is no list', async () => {
    const { troupe } = await over('2025-03-26');
    expect((await failureOf(troupe.batch({} as never))).code).toBe('invalid_request');
  });
});

describe('over HTTP of revision 2025-03-26', () => {
  it('is one array', async () => {
    const { server, troupe, posts } = await over('2025-03-26');
    expect(told(await troupe.batch(acts(90)))).toEqual(times(90).map(String));
    expect(posts()).toEqual([{ size: 90, array: true, session: expect.any(String) }]);
    expect(server.runs).toHaveLength(90);
  });

  it('is several where it is long', async () => {
    const { server, troupe, posts } = await over('2025-03-26');
    expect(told(await troupe.batch(acts(250)))).toEqual(times(250).map(String));
    expect(posts().map(({ size, array }) => [size, array])).toEqual([
      [100, true],
      [100, true],
      [50, true],
    ]);
    expect(new Set(server.runs.map(({ nonce }) => nonce)).size).toBe(250);
  });

  it('is a message like any other where it is one', async () => {
    const { troupe, posts } = await over('2025-03-26');
    expect(told(await troupe.batch(acts(1)))).toEqual(['0']);
    expect(posts()).toMatchObject([{ size: 1, array: false }]);
  });

  it('has an outcome for each, in the order asked, whoever is ready first', async () => {
    const { server, troupe, posts } = await over('2025-03-26');
    const results = await troupe.batch([
      act('slow', { ms: 150 }),
      act('fails', { end: 'fail' }),
      act('breaks', { end: 'error' }),
      { method: 'tools/call', params: { name: 's__nothing' } },
      { method: 'resources/read', params: { uri: 'mini://a' } },
      { method: 'prompts/get', params: { name: 's__greet', arguments: { who: 'me' } } },
      { method: 'vendor/thing', params: { x: 7 } },
      { method: 'vendor/unknown' },
      act('last'),
    ]);
    expect(results).toMatchObject([
      { ok: true, result: { content: [{ text: 'act slow by flaky' }] } },
      { ok: true, result: { isError: true } },
      { ok: false, error: { code: 'protocol_error', server: 's', delivery: 'answered' } },
      { ok: false, error: { code: 'not_found', delivery: 'unsent' } },
      { ok: true, result: { contents: [{ uri: 'mini://a' }] } },
      { ok: true, result: { messages: [{ content: { text: 'hello me' } }] } },
      { ok: true, result: { vendor: 7 } },
      { ok: false, error: { code: 'unsupported', delivery: 'answered' } },
      { ok: true, result: { content: [{ text: 'act last by flaky' }] } },
    ]);
    // Nobody knows `nothing`: it was never sent.
    expect(posts()).toMatchObject([{ size: 8, array: true }]);
    expect(server.runs).toHaveLength(4);
  });

  it('does not spoil the rest by one that is no request or cannot be written', async () => {
    const { server, troupe } = await over('2025-03-26');
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const results = await troupe.batch([
      act('first'),
      act('circle', { circle }),
      act('number', { big: 1n }),
      null as never,
      { method: '' },
      { method: 'tools/call', params: 'text' as never },
      { method: 'tools/call', params: { name: 's__act' }, server: 'nobody' },
      act('last'),
    ]);
    expect(told(results)).toEqual([
      'first',
      'invalid_request',
      'invalid_request',
      'invalid_request',
      'invalid_request',
      'invalid_request',
      'not_found',
      'last',
    ]);
    expect(server.runs.map(({ nonce }) => nonce).toSorted()).toEqual(['first', 'last']);
  });

  it('has one deadline: what is late fails alone, and is cancelled at the server', async () => {
    const { server, troupe } = await over('2025-03-26');
    const results = await troupe.batch([act('a'), act('hangs', { end: 'hang' }), act('b')], {
      timeoutMs: 400,
    });
    expect(told(results)).toEqual(['a', 'deadline_exceeded', 'b']);
    await until(() => server.cancelled.length === 1, 'the end at the server');
    expect(server.cancelled).toEqual(['hangs']);
  });

  it('ends as a whole when its caller leaves', async () => {
    const { server, troupe } = await over('2025-03-26');
    const aborter = new AbortController();
    const results = troupe.batch(
      times(5).map((i) => act(i, { end: 'hang' })),
      { signal: aborter.signal },
    );
    await until(() => server.runs.length === 5, 'the runs');
    aborter.abort();
    expect(told(await results)).toEqual(times(5).map(() => 'cancelled'));
    await until(() => server.cancelled.length === 5, 'the end at the server');
  });

  it('is refused as a whole, each of it typed, and nothing runs twice', async () => {
    const { server, troupe } = await over('2025-03-26', { breaker: false });
    server.refuse = ({ method }) => (method === 'tools/call' ? { status: 503 } : undefined);
    expect(told(await troupe.batch(acts(5)))).toEqual(times(5).map(() => 'outcome_unknown'));
    expect(server.count('tools/call')).toBe(5);
    server.refuse = undefined;
    expect(told(await troupe.batch(acts(5)))).toEqual(times(5).map(String));
  });

  it('is also what calls at the same time are, where a window is asked for', async () => {
    const { server, troupe, posts } = await over('2025-03-26', { batch: { windowMs: 20 } });
    const calls = times(30).map((i) => textOf(troupe.callTool('s__act', { nonce: String(i) })));
    expect((await Promise.all(calls)).map((text) => text.split(' ')[1])).toEqual(times(30).map(String));
    expect(posts().reduce((sum, { size }) => sum + size, 0)).toBe(30);
    expect(posts().length).toBeLessThan(5);
    expect(server.runs).toHaveLength(30);
  });

  it('is not, where it is not', async () => {
    const { troupe, posts } = await over('2025-03-26');
    await Promise.all(times(10).map((i) => troupe.callTool('s__act', { nonce: String(i) })));
    expect(posts()).toHaveLength(10);
    expect(posts().filter(({ array }) => array)).toEqual([]);
  });
});

describe.each(['2025-06-18', '2025-11-25', '2026-07-28'])('over HTTP of revision %s', (revision) => {
  it('is that many requests at the same time', async () => {
    const { server, troupe, posts } = await over(revision);
    let now = 0;
    let peak = 0;
    server.order = async () => {
      now += 1;
      peak = Math.max(peak, now);
      await pause(30);
      now -= 1;
      return undefined;
    };
    expect(told(await troupe.batch(acts(40)))).toEqual(times(40).map(String));
    expect(posts()).toHaveLength(40);
    expect(posts().filter(({ array }) => array)).toEqual([]);
    expect(peak).toBeGreaterThan(10);
  });
});

describe('over stdio', () => {
  const piped = async (revision: string): Promise<{ troupe: Engine; chunks: () => number[] }> => {
    const log = join(directory(), 'log');
    const troupe = engine({ servers: { s: flakyStdio(log, { revision }) } });
    await troupe.start();
    await listed(troupe);
    const of = (): number[] =>
      logLines(log)
        .filter((line) => line.startsWith('chunk '))
        .map((line) => Number(line.split(' ')[1]));
    const before = of().length;
    return { troupe, chunks: () => of().slice(before) };
  };

  it.each(['2024-11-05', '2025-11-25', '2026-07-28'])('is one write (revision %s)', async (revision) => {
    const { troupe, chunks } = await piped(revision);
    expect(told(await troupe.batch(acts(90)))).toEqual(times(90).map(String));
    expect(chunks().reduce((sum, lines) => sum + lines, 0)).toBe(90);
    // The pipe may hand one write over in pieces.
    expect(chunks().length).toBeLessThanOrEqual(4);
  });
});

describe('a batch over the fleet', () => {
  it('goes to each server in a transmission of its own', async () => {
    const hosts = [
      await http({ name: 'a', revision: '2025-03-26' }),
      await http({ name: 'b', revision: '2025-03-26' }),
    ];
    const troupe = engine({ servers: Object.fromEntries(hosts.map(({ name, url }) => [name, { url }])) });
    await troupe.start();
    await listed(troupe);
    const before = hosts.map(({ posts }) => posts.length);
    const requests = times(20).map((i) => ({
      method: 'tools/call',
      params: { name: `${i % 3 === 0 ? 'a' : 'b'}__act`, arguments: { nonce: String(i) } },
    }));
    expect(told(await troupe.batch(requests))).toEqual(times(20).map(String));
    expect(hosts.map(({ posts }, i) => posts.slice(before[i]).map(({ size }) => size))).toEqual([[7], [13]]);
  });

  it('has aggregated lists where no server is named', async () => {
    const [a, b] = [await http({ name: 'a' }), await http({ name: 'b' })];
    const troupe = engine({
      servers: { a: { url: a.url }, b: { url: b.url }, down: { command: 'no-such-program-anywhere' } },
    });
    await troupe.start();
    const results = await troupe.batch([
      { method: 'resources/list' },
      { method: 'tools/list' },
      { method: 'prompts/list' },
      { method: 'tools/list', server: 'b' },
    ]);
    const failures = [{ server: 'down', error: { code: 'unavailable' } }];
    const [resources, tools, prompts, ofB] = results;
    expect(resources).toMatchObject({
      ok: true,
      result: {
        resources: [
          { uri: 'mini://a', server: 'a' },
          { uri: 'mini://a', server: 'b' },
        ],
        failures,
      },
    });
    expect(tools).toMatchObject({ ok: true, result: { failures } });
    const names = (tools as unknown as { result: { tools: Array<{ name: string }> } }).result.tools.map(
      ({ name }) => name,
    );
    expect(names).toEqual(
      ['a', 'b'].flatMap((s) => ['look', 'set', 'act', 'count'].map((tool) => `${s}__${tool}`)),
    );
    expect(prompts).toMatchObject({
      ok: true,
      result: { prompts: [{ name: 'a__greet' }, { name: 'b__greet' }], failures },
    });
    // Of one server: as it said it.
    expect(ofB).toMatchObject({ ok: true, result: { tools: [{ name: 'look' }, {}, {}, {}], ttlMs: 0 } });
  });
});
