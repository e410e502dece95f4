import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { BreakerState } from '../../lib/core/events.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  logged,
  pause,
  textOf,
  timeOf,
  until,
} from '../support/engines.ts';
import type { FlakyHttp } from '../support/flaky-http.mjs';
import { flakyHttps, flakyStdio, nonce } from '../support/flaky.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const http = flakyHttps();
const directory = temporaryDirectories();

const times = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const call = (of: Engine, tool: string, options = {}, args = {}): Promise<string> =>
  textOf(of.callTool(`s__${tool}`, { nonce: nonce(), ...args }, options));

/** One flaky server "s", and an engine that has listed it. */
async function single(settings: ServerConfig): Promise<{ server: FlakyHttp; troupe: Engine }> {
  const server = await http();
  const troupe = engine({ servers: { s: { url: server.url, ...settings } } });
  await troupe.start();
  await troupe.listTools();
  return { server, troupe };
}

const UNAVAILABLE = { status: 503 };
const BROKEN = { error: { code: -32_603, message: 'broken' } };

describe('the circuit breaker', () => {
  const breaker = { minSamples: 3, consecutive: 3, openMs: 500, openFactor: 1, probeTimeoutMs: 100 };
  const probes = (server: FlakyHttp): number => server.count('server/discover');
  /** What the calls of a sick server fail with; those that it hangs on are given 50 ms. */
  const failing: ReadonlyArray<[string, (server: FlakyHttp) => void, string]> = [
    ['answers 503', (server) => (server.refuse = () => UNAVAILABLE), 'outcome_unknown'],
    ['answers with an internal error', (server) => (server.order = () => BROKEN), 'protocol_error'],
    ['hangs', (server) => (server.order = () => ({ hang: true })), 'deadline_exceeded'],
  ];

  it.each(failing)(
    'opens for a server that %s, and one probe of the engine closes it',
    async (_, ail, code) => {
      const { server, troupe } = await single({ breaker, retry: false });
      const changes = heard(troupe, 'breaker.changed');
      const states: BreakerState[] = [];
      troupe.fleet$.subscribe(({ connections }) => {
        const state = connections[0]?.breaker;
        if (state !== undefined && state !== states.at(-1)) states.push(state);
      });
      ail(server);
      for (const _i of times(3)) {
        expect(
          (await failureOf(call(troupe, 'act', { timeoutMs: code === 'deadline_exceeded' ? 50 : 5_000 })))
            .code,
        ).toBe(code);
      }
      expect(troupe.fleet.connections[0]).toMatchObject({
        state: 'Connected',
        breaker: 'open',
        availability: 'impossible',
      });
      const asked = server.count('tools/call');
      const refused = await failureOf(call(troupe, 'act'));
      expect(refused).toMatchObject({
        code: 'circuit_open',
        delivery: 'unsent',
        server: 's',
        connection: 's',
      });
      expect(refused.retryAfterMs).toBeGreaterThan(0);
      expect(refused.retryAfterMs).toBeLessThanOrEqual(550);

      // Two trials in vain. While one is under way nobody else is let through.
      const before = probes(server);
      await until(() => changes.filter(({ to }) => to === 'open').length >= 3, 'the second trial to fail');
      expect(probes(server) - before).toBeGreaterThanOrEqual(2);
      expect((await failureOf(call(troupe, 'act'))).code).toBe('circuit_open');
      expect(server.count('tools/call')).toBe(asked);

      server.refuse = undefined;
      server.order = undefined;
      await until(() => troupe.fleet.connections[0]?.breaker === 'closed', 'the breaker to close');
      // On a busy machine there is time for one more in vain: each trial is one probe, and the good one closes.
      const trials = changes.filter(({ to }) => to === 'half-open').length;
      expect(trials).toBeGreaterThanOrEqual(3);
      expect(probes(server) - before).toBe(trials);
      expect(await call(troupe, 'act')).toContain('act');
      const all = times(trials).flatMap(() => ['open', 'half-open']);
      expect(changes.map(({ to }) => to)).toEqual([...all, 'closed']);
      expect(states).toEqual(['closed', ...all, 'closed']);
      expect(changes.every(({ server: name, connection }) => name === 's' && connection === 's')).toBe(true);
    },
  );

  it('lets nobody through while its probe is under way', async () => {
    const { server, troupe } = await single({ breaker: { ...breaker, probeTimeoutMs: 5_000 }, retry: false });
    server.refuse = ({ method }) => (method === 'tools/call' ? UNAVAILABLE : undefined);
    for (const _ of times(3)) await failureOf(call(troupe, 'act'));
    const before = probes(server);
    server.refuse = undefined;
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    server.order = ({ method }) => (method === 'server/discover' ? held.then(() => undefined) : undefined);
    await until(() => probes(server) > before, 'the probe');
    const refused = await Promise.all(times(20).map(() => failureOf(call(troupe, 'act'))));
    expect(refused.every(({ code }) => code === 'circuit_open')).toBe(true);
    expect(troupe.fleet.connections[0]?.breaker).toBe('half-open');
    expect(probes(server) - before).toBe(1);
    release();
    await until(() => troupe.fleet.connections[0]?.breaker === 'closed', 'the breaker to close');
    expect(await call(troupe, 'act')).toContain('act');
  });

  it('does not count what says nothing about the server: tools that fail, wrong arguments, callers who leave', async () => {
    const { server, troupe } = await single({ breaker: { ...breaker, failureRatio: 0.01 }, retry: false });
    const changes = heard(troupe, 'breaker.changed');
    for (const _ of times(5)) expect(await call(troupe, 'act', {}, { end: 'fail' })).toBe('it failed');
    server.order = () => ({ error: { code: -32_602, message: 'wrong arguments' } });
    for (const _ of times(5)) expect((await failureOf(call(troupe, 'act'))).code).toBe('protocol_error');
    server.order = () => ({ hang: true });
    for (const i of times(5)) {
      const aborter = new AbortController();
      const left = call(troupe, 'act', { signal: aborter.signal });
      await until(() => server.count('tools/call') === 11 + i, 'the call to arrive');
      aborter.abort();
      expect((await failureOf(left)).code).toBe('cancelled');
    }
    expect(changes).toEqual([]);
    expect(troupe.fleet.connections[0]).toMatchObject({ breaker: 'closed', availability: 'usable' });
  });

  it('takes its replica out of the pool and costs no call', async () => {
    const good = await http({ name: 'good' });
    const bad = await http({ name: 'bad' });
    const replicas = [{ url: bad.url }, { url: good.url }];
    const troupe = engine({
      servers: {
        s: {
          replicas,
          routing: 'round-robin',
          outlier: false,
          trusted: true,
          breaker: { ...breaker, openMs: 60_000 },
        },
      },
    });
    await troupe.start();
    await troupe.listTools();
    bad.refuse = () => UNAVAILABLE;
    for (const _ of times(20)) expect(await call(troupe, 'look')).toContain('by good');
    expect(bad.count('tools/call')).toBe(3);
    expect(troupe.fleet.servers[0]).toMatchObject({ availability: 'usable' });
  });
});

describe('outlier detection', () => {
  it('stops asking the one that always fails, without a call lost', async () => {
    const servers = [await http({ name: 'a' }), await http({ name: 'bad' }), await http({ name: 'c' })];
    const troupe = engine({
      servers: {
        s: {
          replicas: servers.map(({ url }) => ({ url })),
          routing: 'round-robin',
          trusted: true,
          breaker: false,
          outlier: { consecutive: 3 },
        },
      },
    });
    await troupe.start();
    await troupe.listTools();
    const [, bad] = servers;
    if (bad === undefined) throw new Error('no server');
    bad.refuse = () => UNAVAILABLE;
    for (const _ of times(40)) expect(await call(troupe, 'look')).not.toContain('by bad');
    expect(bad.count('tools/call')).toBe(3);
  });
});

describe('retry', () => {
  const quick = { baseMs: 1, capMs: 2 };

  /** The server refuses the first call with this status, and would take the second. */
  const refusedOnce = async (settings: ServerConfig, status: number, headers?: Record<string, string>) => {
    const { server, troupe } = await single({ retry: quick, ...settings });
    let refused = false;
    server.refuse = ({ method }) => {
      if (method !== 'tools/call' || refused) return undefined;
      refused = true;
      return { status, ...(headers && { headers }) };
    };
    return { server, troupe };
  };

  it.each([
    ['a tool that acts', 'act', {}, {}, false],
    ['a tool that claims to be idempotent, untrusted', 'set', {}, {}, false],
    ['a tool that claims to change nothing, untrusted', 'look', {}, {}, false],
    ['a tool trusted to be idempotent', 'set', { trusted: true }, {}, true],
    ['a tool trusted to change nothing', 'look', { trusted: true }, {}, true],
    ['a tool that the caller vouches for', 'act', {}, { idempotent: true }, true],
  ])('after a 503, which may come after the work: %s', async (_, tool, settings, options, again) => {
    const { server, troupe } = await refusedOnce(settings, 503);
    const answer = call(troupe, tool, options);
    if (again) expect(await answer).toContain(tool);
    else
      expect(await failureOf(answer)).toMatchObject({
        code: 'outcome_unknown',
        delivery: 'sent',
        attempt: 1,
      });
    expect(server.count('tools/call')).toBe(again ? 2 : 1);
  });

  it('repeats what was turned away unread, whatever it is', async () => {
    const { server, troupe } = await refusedOnce({}, 429);
    expect(await call(troupe, 'act')).toContain('act');
    expect(server.runs).toHaveLength(1);
  });

  it('waits as long as the server asks for', async () => {
    const { server, troupe } = await refusedOnce({}, 429, { 'retry-after': '0.4' });
    const elapsed = await timeOf(() => call(troupe, 'act'));
    expect(elapsed).toBeGreaterThanOrEqual(395);
    expect(server.runs).toHaveLength(1);
  });

  it('gives up at once where that is beyond the deadline', async () => {
    const { server, troupe } = await refusedOnce({}, 429, { 'retry-after': '60' });
    let error: TroupeError | undefined;
    const elapsed = await timeOf(
      async () => (error = await failureOf(call(troupe, 'act', { timeoutMs: 5_000 }))),
    );
    expect(error).toMatchObject({ code: 'rate_limited', delivery: 'unsent', retryAfterMs: 60_000 });
    expect(elapsed).toBeLessThan(2_000);
    expect(server.runs).toHaveLength(0);
  });

  it('stays within its budget while a server is down', async () => {
    const retry = { ...quick, budgetMinPerSecond: 0, budgetRatio: 0.1 };
    const { server, troupe } = await single({ retry, breaker: false, trusted: true });
    const settled = heard(troupe, 'request.settled');
    server.refuse = ({ method }) => (method === 'tools/call' ? UNAVAILABLE : undefined);
    const failures = await Promise.all(times(100).map(() => failureOf(call(troupe, 'look'))));
    expect(failures.every(({ code }) => code === 'unavailable')).toBe(true);
    const asked = server.count('tools/call');
    expect(asked).toBeGreaterThan(100);
    expect(asked).toBeLessThanOrEqual(110);
    // The events tell the same number.
    expect(settled.reduce((sum, { attempts }) => sum + attempts, 0)).toBe(asked);
  });

  it('names the attempts, and asks no more often than it says', async () => {
    const { server, troupe } = await single({ retry: { ...quick, retries: 3 }, breaker: false });
    server.refuse = () => ({ status: 429 });
    expect(await failureOf(call(troupe, 'act'))).toMatchObject({ code: 'rate_limited', attempt: 4 });
    expect(server.count('tools/call')).toBe(4);
  });
});

describe('the rate limit', () => {
  it('spaces calls out after a burst', async () => {
    const { server, troupe } = await single({ rateLimit: { perSecond: 20, burst: 2 }, retry: false });
    // Two at once, four more at 50 ms each.
    const elapsed = await timeOf(() => Promise.all(times(6).map(() => call(troupe, 'act'))));
    expect(elapsed).toBeGreaterThanOrEqual(195);
    expect(server.runs).toHaveLength(6);
  });

  it('refuses at once what would come too late', async () => {
    const { server, troupe } = await single({ rateLimit: { perSecond: 0.05, burst: 1 } });
    await call(troupe, 'act');
    const refused = await failureOf(call(troupe, 'act', { timeoutMs: 10_000 }));
    expect(refused).toMatchObject({ code: 'rate_limited', delivery: 'unsent', server: 's' });
    expect(refused.retryAfterMs).toBeGreaterThan(10_000);
    expect(refused.retryAfterMs).toBeLessThanOrEqual(20_000);
    expect(server.runs).toHaveLength(1);
  });
});

describe('slots', () => {
  /** Counts how many calls of one tool, or of one principal, the server has at the same time. */
  const counted = async (settings: ServerConfig) => {
    const { server, troupe } = await single({ retry: false, ...settings });
    const now = new Map<string, number>();
    const peak = new Map<string, number>();
    server.order = async ({ method, params }) => {
      if (method !== 'tools/call') return undefined;
      const key = (params?.arguments?.['as'] as string | undefined) ?? params?.name ?? '';
      now.set(key, (now.get(key) ?? 0) + 1);
      peak.set(key, Math.max(peak.get(key) ?? 0, now.get(key) ?? 0));
      await pause(30);
      now.set(key, (now.get(key) ?? 0) - 1);
      return undefined;
    };
    return { server, troupe, peak };
  };

  it('of a replica bound what it has at once', async () => {
    const { troupe, peak } = await counted({ maxInFlight: 3 });
    await Promise.all(times(12).map(() => call(troupe, 'act')));
    expect(peak.get('act')).toBe(3);
  });

  it('of a tool are its own', async () => {
    const { troupe, peak } = await counted({ admission: { perTool: 2 } });
    await Promise.all(times(8).flatMap(() => [call(troupe, 'act'), call(troupe, 'look')]));
    expect([peak.get('act'), peak.get('look')]).toEqual([2, 2]);
  });

  it('of a tenant are its own, and nobody waits for another tenant', async () => {
    const { troupe, peak } = await counted({ admission: { perTenant: 1 } });
    const ann = { principal: { id: 'ann', tenant: 'red' } };
    const bob = { principal: { id: 'bob', tenant: 'red' } };
    const order: string[] = [];
    const one = async (tenant: string, options: object) => {
      await call(troupe, 'act', options, { as: tenant });
      order.push(tenant);
    };
    await Promise.all([
      ...times(4).flatMap(() => [one('red', ann), one('red', bob)]),
      one('blue', { principal: 'eve' }),
    ]);
    expect(peak.get('red')).toBe(1);
    expect(order.indexOf('blue')).toBeLessThanOrEqual(2);
    expect(order).toHaveLength(9);
  });

  it('that are full refuse who cannot wait any more, and say when to come back', async () => {
    const { server, troupe } = await counted({ maxInFlight: 1, admission: { maxQueue: 1 } });
    const outcomes = await Promise.allSettled(times(10).map(() => call(troupe, 'act')));
    const refused = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as TroupeError] : []));
    expect(refused).toHaveLength(8);
    for (const error of refused)
      expect(error).toMatchObject({ code: 'queue_full', delivery: 'unsent', server: 's' });
    expect(refused.every(({ retryAfterMs }) => (retryAfterMs ?? 0) > 0)).toBe(true);
    expect(server.runs).toHaveLength(2);
  });

  it('that are full of a tool leave the rest of the server alone', async () => {
    const { troupe } = await counted({ admission: { perTool: 1, maxQueue: 0 } });
    const first = call(troupe, 'act');
    const refused = await failureOf(call(troupe, 'act'));
    expect(refused).toMatchObject({ code: 'queue_full', delivery: 'unsent' });
    expect(refused.message).toContain('tool s__act');
    expect(await call(troupe, 'look')).toContain('look');
    await first;
  });

  it('follow what the replica bears, where that is asked for', async () => {
    const { server, troupe } = await single({
      retry: false,
      breaker: false,
      adaptive: true,
      maxInFlight: 16,
    });
    let now = 0;
    let peak = 0;
    // More than four at once is too much for it: nobody is served in time.
    server.order = async ({ method }) => {
      if (method !== 'tools/call') return undefined;
      now += 1;
      peak = Math.max(peak, now);
      const many = now > 4;
      await pause(many ? 1_000 : 10);
      now -= 1;
      return undefined;
    };
    const wave = async (): Promise<number> => {
      peak = 0;
      await Promise.allSettled(times(32).map(() => call(troupe, 'act', { timeoutMs: 500 })));
      await until(() => now === 0, 'the server to be idle');
      return peak;
    };
    const first = await wave();
    expect(first).toBeGreaterThan(8);
    await wave();
    expect(await wave()).toBeLessThan(first);
  });
});

describe('concurrency that follows what the server bears', () => {
  it('shrinks where it is asked for patience, as where it is late', async () => {
    const { server, troupe } = await single({
      retry: false,
      breaker: false,
      adaptive: true,
      maxInFlight: 16,
    });
    let now = 0;
    let peak = 0;
    const wave = async (calls: number, patience: boolean): Promise<number> => {
      peak = 0;
      server.refuse = ({ method }) =>
        patience && method === 'tools/call' ? { status: 429, headers: { 'retry-after': '1' } } : undefined;
      const outcomes = await Promise.allSettled(times(calls).map(() => call(troupe, 'act')));
      if (patience)
        for (const outcome of outcomes)
          expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'rate_limited' } });
      return peak;
    };
    server.order = async ({ method }) => {
      if (method !== 'tools/call') return undefined;
      now += 1;
      peak = Math.max(peak, now);
      await pause(20);
      now -= 1;
      return undefined;
    };
    expect(await wave(32, false)).toBeGreaterThan(8);
    // Each refusal takes a tenth of the slots, down to one.
    await wave(32, true);
    // It grows again by one with each answer: of 10 calls the last ones run five at once, not ten.
    expect(await wave(10, false)).toBeLessThan(8);
  });
});

describe('hedging', () => {
  /** Two replicas that have answered fast, of which one hangs from now on. */
  const halfHanging = async (hangs: 'answers late' | 'never answers') => {
    const servers = [await http({ name: 'a' }), await http({ name: 'b' })];
    const troupe = engine({
      servers: {
        s: {
          replicas: servers.map(({ url }) => ({ url })),
          routing: 'round-robin',
          // The machine may be busy: what takes less than 100 ms is not slow here. Both budgets are as they come.
          hedge: { minDelayMs: 100 },
          trusted: true,
        },
      },
    });
    await troupe.start();
    await troupe.listTools();
    // Of 60 requests 5 % are three that may be asked twice.
    for (const _ of times(60)) await call(troupe, 'look');
    const [slow, fast] = servers;
    if (slow === undefined || fast === undefined) throw new Error('no servers');
    slow.order = ({ method }) =>
      method === 'tools/call' ? (hangs === 'never answers' ? { hang: true } : { ms: 300 }) : undefined;
    const before = { slow: slow.count('tools/call'), fast: fast.count('tools/call') };
    return { troupe, slow, fast, before };
  };

  it('asks a second replica, and cancels the loser at its server', async () => {
    const { troupe, slow, fast, before } = await halfHanging('never answers');
    const settled = heard(troupe, 'request.settled');
    // Two in a row: round robin gives at least one of them to the replica that hangs.
    const answers = [await call(troupe, 'look'), await call(troupe, 'look')];
    expect(answers.every((text) => text.endsWith('by b'))).toBe(true);
    const asked = slow.count('tools/call') - before.slow;
    expect(asked).toBeGreaterThan(0);
    expect(fast.count('tools/call') - before.fast).toBe(2);
    expect(settled.map(({ attempts }) => attempts).reduce((a, b) => a + b)).toBe(asked + 2);
    await until(() => slow.cancelled.length === asked, 'the loser to be cancelled at its server');
    expect(fast.cancelled).toEqual([]);
    await until(() => troupe.fleet.connections.every(({ inFlight }) => inFlight === 0), 'nothing to be left');
  });

  it('is for reads only: what acts is waited for', async () => {
    const { troupe, slow, fast, before } = await halfHanging('answers late');
    await call(troupe, 'act');
    await call(troupe, 'act');
    expect([slow.count('tools/call') - before.slow, fast.count('tools/call') - before.fast]).toEqual([1, 1]);
    expect(slow.cancelled).toEqual([]);
  });
});

describe('the health probe', () => {
  it('notices a process that was stopped, and the server comes back', async () => {
    const log = join(directory(), 'log');
    const troupe = engine({
      servers: { s: { ...flakyStdio(log), probe: { intervalMs: 30, timeoutMs: 150, failures: 2 } } },
    });
    await troupe.start();
    const probed = heard(troupe, 'connection.probed');
    const changes = heard(troupe, 'connection.changed');
    await until(() => probed.length > 1, 'a probe');
    expect(troupe.fleet.connections[0]?.lastProbe).toMatchObject({ ok: true });
    const pid = troupe.connection('s').process?.pid;
    if (pid === undefined) throw new Error('no process');
    process.kill(pid, 'SIGSTOP');
    await until(() => changes.some(({ to }) => to === 'Error'), 'the loss');
    const { error } = changes.find(({ to }) => to === 'Error') ?? {};
    expect(error).toMatchObject({ code: 'connection_lost', server: 's' });
    expect(error?.message).toContain('2 health probes in a row');
    expect(probed.slice(-2).map(({ ok }) => ok)).toEqual([false, false]);
    expect(troupe.fleet.connections[0]?.lastProbe?.ok).toBe(false);
    await until(() => isConnected(troupe, 's'), 'the server to come back');
    expect(await call(troupe, 'act')).toContain('act');
    expect(logged(log, 'spawn')).toBe(2);
    // Nobody is left of the first one, stopped as it was.
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    await until(() => troupe.fleet.connections[0]?.lastProbe?.ok === true, 'a probe of the new one');
  });
});

describe('a dip in capacity', () => {
  it('is over for the callers when it is over for the server', async () => {
    const { server, troupe } = await single({ retry: false, breaker: false, maxInFlight: 4, timeoutMs: 500 });
    let serviceMs = 5;
    server.order = ({ method }) => (method === 'tools/call' ? { ms: serviceMs } : undefined);
    interface Shot {
      readonly at: number;
      readonly outcome: Promise<string>;
    }
    const shots: Shot[] = [];
    const started = performance.now();
    const load = async (ms: number) => {
      const end = performance.now() + ms;
      while (performance.now() < end) {
        const outcome = call(troupe, 'act').then(
          () => 'ok',
          (error: TroupeError) => error.code,
        );
        shots.push({ at: performance.now() - started, outcome });
        await pause(10);
      }
    };
    await load(300);
    serviceMs = 300;
    const dipped = performance.now() - started;
    await load(2_000);
    serviceMs = 5;
    const healed = performance.now() - started;
    await load(1_000);
    const outcomes = await Promise.all(
      shots.map(async ({ at, outcome }) => ({ at, outcome: await outcome })),
    );
    const between = (from: number, to: number): string[] =>
      outcomes.filter(({ at }) => at >= from && at < to).map(({ outcome }) => outcome);
    // In the dip whoever cannot be served is told so, typed.
    const during = between(dipped + 500, healed - 300);
    expect(during.every((outcome) => ['ok', 'queue_full', 'deadline_exceeded'].includes(outcome))).toBe(true);
    expect(during.filter((outcome) => outcome !== 'ok').length).toBeGreaterThan(during.length / 2);
    // What capacity there is goes to those who can still be answered in time: 4 slots, 300 ms each, over 1.2 s are 16.
    expect(during.filter((outcome) => outcome === 'ok').length).toBeGreaterThanOrEqual(6);
    // What is under way when it ends still takes its time; everything later is served.
    const after = between(healed + 400, Infinity);
    expect(after.length).toBeGreaterThan(10);
    expect(after.filter((outcome) => outcome !== 'ok')).toEqual([]);
  });
});
