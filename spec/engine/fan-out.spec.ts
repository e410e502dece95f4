import { describe, expect, it, jest } from '@jest/globals';
import { lastValueFrom, toArray } from 'rxjs';
import type { EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import type { FanOutResult } from '../../lib/engine/fan-out.ts';
import { engines, failureOf, hostHearsNothing, until } from '../support/engines.ts';
import type { FlakyHttp } from '../support/flaky-http.mjs';
import { flakyHttps } from '../support/flaky.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();

const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const ask = (args = {}) => ({
  method: 'tools/call',
  params: { name: 'act', arguments: { nonce: 'n', ...args } },
});
const isCall = ({ method }: { readonly method: string }): boolean => method === 'tools/call';

async function fleet(
  names: readonly string[],
  settings: Readonly<Record<string, ServerConfig>> = {},
  more: EngineConfig = {},
) {
  const hosts = new Map<string, FlakyHttp>();
  for (const name of names) hosts.set(name, await http({ name }));
  const servers = Object.fromEntries([...hosts].map(([name, { url }]) => [name, { url, ...settings[name] }]));
  const troupe = engine({ ...more, servers });
  await troupe.start();
  const host = (name: string): FlakyHttp => {
    const found = hosts.get(name);
    if (found === undefined) throw new Error(`no host ${name}`);
    return found;
  };
  return { troupe, host };
}

const rowsOf = (
  of: Engine,
  request: Parameters<Engine['fanOut']>[0],
  options = {},
): Promise<FanOutResult[]> => lastValueFrom(of.fanOut(request, options).pipe(toArray()));
const outcomes = (rows: readonly FanOutResult[]): Record<string, string> =>
  Object.fromEntries(rows.map((row) => [row.server, row.ok ? 'ok' : row.error.code]));

describe('what the caller says of all', () => {
  it('holds for each: a signal that was aborted before, and the servers to ask', async () => {
    const { troupe, host } = await fleet(['a', 'b']);
    const asked = (): string[] =>
      ['a', 'b'].filter((name) => host(name).seen.some((message) => isCall(message)));
    const signal = AbortSignal.abort();
    const rows = await lastValueFrom(troupe.fanOut(ask(), { signal }).pipe(toArray()));
    expect(rows).toMatchObject([
      { ok: false, error: { code: 'cancelled' } },
      { ok: false, error: { code: 'cancelled' } },
    ]);
    const { failures } = await troupe.aggregate(ask(), { signal });
    expect(failures).toHaveLength(2);
    expect(asked()).toEqual([]);
    await troupe.aggregate(ask(), { servers: ['a'] });
    expect(asked()).toEqual(['a']);
  });
});

describe('fanOut', () => {
  it('gives a row as each server answers', async () => {
    const { troupe, host } = await fleet(['a', 'b', 'c']);
    let release = (): void => {};
    const gate = new Promise<undefined>((resolve) => (release = () => resolve(undefined)));
    host('a').order = (message) => (isCall(message) ? gate : undefined);
    const rows: FanOutResult[] = [];
    let complete = false;
    troupe.fanOut(ask()).subscribe({ next: (row) => rows.push(row), complete: () => (complete = true) });
    await until(() => rows.length === 2, 'the two that are ready');
    expect(new Set(rows.map(({ server }) => server))).toEqual(new Set(['b', 'c']));
    expect(complete).toBe(false);
    release();
    await until(() => complete, 'the end');
    expect(rows.at(-1)).toMatchObject({
      server: 'a',
      ok: true,
      result: { content: [{ text: 'act n by a' }] },
    });
    expect(rows.every(({ elapsedMs }) => elapsedMs >= 0)).toBe(true);
  });

  it('has a late server as a row at the deadline, and ends without an error', async () => {
    const { troupe, host } = await fleet(['a', 'late']);
    host('late').order = (message) => (isCall(message) ? { hang: true } : undefined);
    const rows = await rowsOf(troupe, ask(), { timeoutMs: 400 });
    expect(rows.map(({ server }) => server)).toEqual(['a', 'late']);
    expect(outcomes(rows)).toEqual({ a: 'ok', late: 'deadline_exceeded' });
    expect(rows[1]?.elapsedMs).toBeGreaterThanOrEqual(390);
    await until(() => host('late').cancelled.length === 1, 'the end at the server');
  });

  it('is cancelled at every server when nobody listens any more', async () => {
    const names = ['a', 'b', 'c'];
    const { troupe, host } = await fleet(names);
    const subscription = troupe.fanOut(ask({ end: 'hang' })).subscribe();
    await until(() => names.every((name) => host(name).runs.length === 1), 'all runs');
    subscription.unsubscribe();
    await until(() => names.every((name) => host(name).cancelled.length === 1), 'the end at every server');
    await until(() => troupe.fleet.connections.every(({ inFlight }) => inFlight === 0), 'nothing to be left');
  });

  it('is cancelled by the signal of its caller, a row for each', async () => {
    const { troupe, host } = await fleet(['a', 'b']);
    const aborter = new AbortController();
    const rows = rowsOf(troupe, ask({ end: 'hang' }), { signal: aborter.signal });
    await until(() => host('a').runs.length + host('b').runs.length === 2, 'the runs');
    aborter.abort();
    expect(outcomes(await rows)).toEqual({ a: 'cancelled', b: 'cancelled' });
  });

  it('is cold, and for one subscriber', async () => {
    const { troupe, host } = await fleet(['a', 'b']);
    const rows$ = troupe.fanOut(ask());
    await troupe.listTools();
    expect([host('a').count('tools/call'), host('b').count('tools/call')]).toEqual([0, 0]);
    await lastValueFrom(rows$.pipe(toArray()));
    await expect(lastValueFrom(rows$.pipe(toArray()))).rejects.toMatchObject({ code: 'invalid_request' });
    expect([host('a').runs.length, host('b').runs.length]).toEqual([1, 1]);
  });

  it('asks whom it is told to ask, and nobody where one of them does not exist', async () => {
    const { troupe, host } = await fleet(['a', 'b', 'c']);
    expect(outcomes(await rowsOf(troupe, { ...ask(), servers: ['a', 'c'] }))).toEqual({ a: 'ok', c: 'ok' });
    expect(host('b').runs).toHaveLength(0);
    await expect(rowsOf(troupe, { ...ask(), servers: ['a', 'zzz'] })).rejects.toMatchObject({
      code: 'not_found',
    });
    expect(host('a').runs).toHaveLength(1);
  });

  it('runs the whole pipeline for each: breaker, bulkhead and pool are among the rows', async () => {
    const { troupe, host } = await fleet(
      ['good', 'broken', 'full', 'evicted'],
      {
        // Its breaker lives as long as its session.
        broken: { breaker: { minSamples: 2, consecutive: 2, openMs: 60_000 }, retry: false, pinned: true },
        full: { maxInFlight: 1, admission: { maxQueue: 0 }, retry: false },
        evicted: { lazy: true },
      },
      { pool: { maxConnections: 4, idleMs: 500 } },
    );
    const direct = (server: string, args = {}) => troupe.request({ ...ask(args), server });
    host('broken').refuse = (message) => (isCall(message) ? { status: 503 } : undefined);
    for (const _ of times(2)) await failureOf(direct('broken'));
    await direct('evicted');
    await until(() => troupe.connection('evicted').state === 'Disconnected', 'the eviction');
    const hanging = new AbortController();
    const held = troupe
      .request({ ...ask({ end: 'hang' }), server: 'full' }, { signal: hanging.signal })
      .catch(() => {});
    await until(() => host('full').runs.length === 1, 'the slot to be taken');
    const before = host('broken').count('tools/call');

    const rows = await rowsOf(troupe, ask());
    expect(outcomes(rows)).toEqual({ good: 'ok', broken: 'circuit_open', full: 'queue_full', evicted: 'ok' });
    for (const row of rows) if (!row.ok) expect(row.error.retryAfterMs).toBeGreaterThan(0);
    expect(host('broken').count('tools/call')).toBe(before);
    expect(host('full').runs).toHaveLength(1);
    expect(host('evicted').runs).toHaveLength(2);
    hanging.abort();
    await held;
  });
});

describe('aggregate', () => {
  it('asks all at once, in parallel', async () => {
    const names = ['a', 'b', 'c'];
    const { troupe, host } = await fleet(names);
    let now = 0;
    let peak = 0;
    let release = (): void => {};
    const gate = new Promise<undefined>((resolve) => (release = () => resolve(undefined)));
    for (const name of names) {
      host(name).order = async (message) => {
        if (!isCall(message)) return undefined;
        now += 1;
        peak = Math.max(peak, now);
        await gate;
        return undefined;
      };
    }
    const whole = troupe.aggregate({ ...ask(), reduce: 'texts' });
    await until(() => now === 3, 'all three at the same time');
    release();
    const { result, failures } = await whole;
    expect(peak).toBe(3);
    expect(failures).toEqual([]);
    for (const name of names) expect(result).toContain(`by ${name}`);
  });

  it('asks one after the other, where that is asked for', async () => {
    const names = ['a', 'b', 'c'];
    const { troupe, host } = await fleet(names);
    const order: string[] = [];
    for (const name of names) {
      host(name).order = (message) => {
        if (!isCall(message)) return undefined;
        order.push(`${name} begins`);
        return new Promise((resolve) => {
          setTimeout(() => {
            order.push(`${name} ends`);
            resolve(undefined);
          }, 20);
        });
      };
    }
    await troupe.aggregate({ ...ask(), mode: 'sequential' });
    expect(order).toEqual(names.flatMap((name) => [`${name} begins`, `${name} ends`]));
  });

  it('takes the first success, with the failures before it, and cancels the rest', async () => {
    const { troupe, host } = await fleet(['fails', 'hangs', 'good']);
    let release = (): void => {};
    const gate = new Promise<undefined>((resolve) => (release = () => resolve(undefined)));
    host('fails').order = (message) =>
      isCall(message) ? { error: { code: -32_602, message: 'no' } } : undefined;
    host('hangs').order = (message) => (isCall(message) ? { hang: true } : undefined);
    host('good').order = (message) => (isCall(message) ? gate : undefined);
    const whole = troupe.aggregate({ ...ask(), mode: 'first' });
    await until(
      () => ['fails', 'hangs', 'good'].every((name) => host(name).count('tools/call') === 1),
      'all to be asked',
    );
    release();
    const { result, failures } = await whole;
    expect(result).toMatchObject({ content: [{ text: 'act n by good' }] });
    expect(failures.every(({ server }) => server === 'fails')).toBe(true);
    await until(() => host('hangs').cancelled.length === 1, 'the rest to be cancelled at its server');
  });

  it('makes one list of many, with who failed beside it', async () => {
    const { troupe, host } = await fleet(['a', 'b', 'broken'], { broken: { retry: false } });
    host('broken').order = ({ method }) =>
      method === 'tools/list' ? { error: { code: -32_603, message: 'no' } } : undefined;
    const { result, failures } = await troupe.aggregate({ method: 'tools/list' });
    expect((result as { tools: unknown[] }).tools).toHaveLength(8);
    expect(failures).toMatchObject([{ server: 'broken', error: { code: 'protocol_error' } }]);
  });

  it('types a reducer that throws, or is none', async () => {
    const { troupe } = await fleet(['a']);
    const throws = (): never => {
      throw new Error('a defect of the host');
    };
    const error = await failureOf(troupe.aggregate({ ...ask(), reduce: throws }));
    expect(error.code).toBe('internal');
    expect(error.message).toContain('throws');
    expect(error.message).toContain('a defect of the host');
    expect((await failureOf(troupe.aggregate({ ...ask(), reduce: 'sum' as never }))).code).toBe(
      'invalid_request',
    );
  });
});
