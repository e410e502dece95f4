import { describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import Opossum from 'opossum';
import type { Cancellation } from '../../lib/core/cancellation.ts';
import type { BreakerState } from '../../lib/core/events.ts';
import type { Handler } from '../../lib/core/interceptor.ts';
import type { Outcome } from '../../lib/core/outcome.ts';
import {
  type BreakerOptions,
  type CircuitBreaker,
  createCircuitBreaker,
} from '../../lib/resilience/circuit-breaker.ts';
import { createPool } from '../../lib/routing/pool.ts';
import { strategyOf } from '../../lib/routing/strategy-registry.ts';
import { failure, heldHandler, requestOf, scriptedHandler } from '../support/requests.ts';
import { type VirtualClock, createVirtualClock } from '../support/virtual-clock.ts';

/** The place where outcomes are reported from: the pool of the replica that the breaker belongs to. */
function through(breaker: CircuitBreaker, handle: Handler, clock = createVirtualClock()): Handler {
  const pool = createPool({
    server: 'alpha',
    candidates: [{ id: 'alpha#1', availability: 'usable', health: breaker, handle }],
    strategy: strategyOf('least-outstanding'),
    clock,
    random: () => 0.5,
  });
  return (request) => pool.handle(request);
}

const OPTIONS: BreakerOptions = {
  minSamples: 5,
  failureRatio: 0.5,
  consecutive: 5,
  windowMs: 10_000,
  openMs: 5_000,
  openFactor: 2,
  openMaxMs: 60_000,
  probeTimeoutMs: 5_000,
};
/** No rule of consecutive failures: the share decides alone. */
const BY_RATIO = { consecutive: Infinity };

interface Probe {
  readonly cancellation: Cancellation;
  readonly yes: () => void;
  readonly no: () => void;
}

interface Bench {
  readonly clock: VirtualClock;
  readonly breaker: CircuitBreaker;
  readonly probes: Probe[];
  readonly changes: string[];
  /** Reports outcomes as of now. */
  readonly report: (outcome: Outcome, times?: number) => void;
  readonly trip: () => void;
}

function bench(options: Partial<BreakerOptions> = {}, random = (): number => 0): Bench {
  const clock = createVirtualClock();
  const probes: Probe[] = [];
  const changes: string[] = [];
  const breaker = createCircuitBreaker({
    clock,
    random,
    options: { ...OPTIONS, ...options },
    probe: (cancellation) =>
      new Promise((resolve, reject) => {
        probes.push({ cancellation, yes: () => resolve({}), no: () => reject(failure('connection_lost')) });
      }),
    onChange: (from: BreakerState, to: BreakerState) =>
      changes.push(`${from} → ${to} @${clock.now() - 1_000}`),
  });
  const report = (outcome: Outcome, times = 1): void => {
    for (let i = 0; i < times; i++) breaker.report(outcome, breaker.generation);
  };
  return { clock, breaker, probes, changes, report, trip: () => report('transport', 5) };
}

describe('circuit breaker', () => {
  it('opens after five failures in a row, whatever was before', () => {
    const { breaker, report } = bench();
    report('ok', 1_000);
    report('timeout', 4);
    expect(breaker.admits).toBe(true);
    report('transport');
    expect(breaker).toMatchObject({ state: 'open', admits: false, retryAfterMs: 5_000 });
  });

  it('an answer ends a row of failures, a tool error and a mistake of the caller too', () => {
    for (const answer of ['ok', 'tool-error', 'app-error'] as const) {
      const { breaker, report } = bench({ failureRatio: 1 });
      for (let i = 0; i < 10; i++) {
        report('transport', 4);
        report(answer);
      }
      expect(breaker.state).toBe('closed');
    }
  });

  it('opens at half of at least five outcomes', () => {
    const { breaker, report } = bench(BY_RATIO);
    report('server-error', 4);
    expect(breaker.state).toBe('closed');
    report('ok', 5);
    expect(breaker.samples).toEqual({ settled: 9, failed: 4 });
    report('ok');
    report('overload');
    expect(breaker.state).toBe('closed');
    report('transport');
    expect(breaker.state).toBe('open');
  });

  it('opens at exactly the ratio, which opossum alone does not', () => {
    const { breaker, report } = bench(BY_RATIO);
    report('ok', 5);
    report('transport', 4);
    expect(breaker.state).toBe('closed');
    report('transport');
    expect(breaker.state).toBe('open');
  });

  it('counts the successes of the whole window against the first failures', async () => {
    const { clock, breaker, report } = bench(BY_RATIO);
    for (let i = 0; i < 9; i++) {
      report('ok');
      await clock.advance(1_000);
    }
    report('transport', 8);
    expect(breaker.samples).toEqual({ settled: 17, failed: 8 });
    expect(breaker.state).toBe('closed');
    report('transport');
    expect(breaker.state).toBe('open');
  });

  it('knows exactly the outcomes of its ten last buckets, whatever comes when', async () => {
    const step = fc.oneof(fc.constantFrom('ok' as const, 'transport' as const), fc.nat({ max: 4_000 }));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const never = { consecutive: Infinity, minSamples: 1_000 };
        const { clock, breaker, report } = bench(never);
        const began = clock.now();
        const bucket = (): number => Math.floor((clock.now() - began) / 1_000);
        const seen: Array<readonly [bucket: number, failed: boolean]> = [];
        for (const what of steps) {
          if (typeof what === 'number') await clock.advance(what);
          else {
            report(what);
            seen.push([bucket(), what === 'transport']);
          }
          const counted = seen.filter(([at]) => at > bucket() - 10);
          const failed = counted.filter(([, bad]) => bad).length;
          expect(breaker.samples).toEqual({ settled: counted.length, failed });
        }
      }),
    );
  });

  it('forgets what is older than the window, without any timer, also after a long silence', async () => {
    const { clock, breaker, report } = bench(BY_RATIO);
    report('transport', 4);
    await clock.advance(9_900);
    expect(breaker.samples.failed).toBe(4);
    await clock.advance(100);
    expect(breaker.samples).toEqual({ settled: 0, failed: 0 });
    report('transport', 4);
    expect(breaker.state).toBe('closed');
    await clock.advance(3_600_000);
    report('transport', 4);
    expect(breaker.state).toBe('closed');
    expect(clock.armed).toBe(0);
  });

  it('counts successes in the part of the window in which they came', async () => {
    const { clock, breaker, report } = bench(BY_RATIO);
    report('ok', 100);
    await clock.advance(9_500);
    report('ok', 3);
    await clock.advance(1_000);
    report('transport', 2);
    expect(breaker.samples).toEqual({ settled: 5, failed: 2 });
  });

  it('probes after 5 s, twice as long after each bad probe, at most 60 s', async () => {
    const { clock, probes, changes, trip } = bench();
    trip();
    for (let i = 0; i < 6; i++) {
      await clock.settle(
        new Promise<void>((resolve) => {
          const look = (): void => void (probes.length > i ? resolve() : clock.after(1_000, look));
          look();
        }),
      );
      probes[i]?.no();
      await clock.flush();
    }
    expect(changes.filter((c) => c.includes('half-open @'))).toEqual([
      'open → half-open @5000',
      'open → half-open @15000',
      'open → half-open @35000',
      'open → half-open @75000',
      'open → half-open @135000',
      'open → half-open @195000',
    ]);
  });

  it('spreads probes by up to a tenth, never earlier than said', async () => {
    const { clock, breaker, trip } = bench({}, () => 0.999);
    trip();
    await clock.advance(5_400);
    expect(breaker.state).toBe('open');
    await clock.advance(100);
    expect(breaker.state).toBe('half-open');
  });

  it('one good probe closes; an opening soon after counts on, one after a minute starts anew', async () => {
    const { clock, breaker, probes, changes, trip } = bench();
    trip();
    await clock.advance(5_000);
    probes[0]?.yes();
    await clock.flush();
    expect(changes).toEqual(['closed → open @0', 'open → half-open @5000', 'half-open → closed @5000']);
    trip();
    expect(breaker.retryAfterMs).toBe(10_000);
    await clock.advance(10_000);
    probes[1]?.yes();
    await clock.advance(60_000);
    trip();
    expect(breaker.retryAfterMs).toBe(5_000);
  });

  it('is not moved by users while open or half-open', async () => {
    const { clock, breaker, probes, report, trip } = bench();
    trip();
    report('ok', 50);
    expect(breaker.state).toBe('open');
    await clock.advance(5_000);
    report('ok', 50);
    report('transport', 50);
    expect(breaker.state).toBe('half-open');
    expect(probes).toHaveLength(1);
  });

  it('goes on in the breaker of the next session: the rest of its open time, then a probe', async () => {
    const { clock, breaker, trip } = bench();
    expect(breaker.held).toBeUndefined();
    trip();
    await clock.advance(1_000);
    const { held } = breaker;
    breaker.dispose();
    expect(held).toBeDefined();
    const probes: Array<() => void> = [];
    const next = createCircuitBreaker({
      clock,
      random: () => 0,
      options: OPTIONS,
      probe: () => new Promise((_, reject) => probes.push(() => reject(failure('connection_lost')))),
      resume: held,
    });
    expect(next).toMatchObject({ state: 'open', admits: false, retryAfterMs: 4_000 });
    next.report('ok', next.generation);
    await clock.advance(3_999);
    expect([next.state, probes.length]).toEqual(['open', 0]);
    await clock.advance(1);
    expect([next.state, probes.length]).toEqual(['half-open', 1]);
    // The second opening, so twice as long.
    probes[0]?.();
    await clock.flush();
    expect(next).toMatchObject({ state: 'open', retryAfterMs: 10_000 });
    next.dispose();
    expect(clock.armed).toBe(0);
  });

  it('whose open time has passed meanwhile begins with the probe, not with a request', async () => {
    const { clock, breaker, trip } = bench();
    trip();
    const { held } = breaker;
    breaker.dispose();
    await clock.advance(60_000);
    let probed = 0;
    const next = createCircuitBreaker({
      clock,
      random: () => 0,
      options: OPTIONS,
      probe: () => Promise.resolve(++probed),
      resume: held,
    });
    expect(next.admits).toBe(false);
    await clock.advance(0);
    await clock.flush();
    expect([next.state, probed]).toEqual(['closed', 1]);
    next.dispose();
  });

  it('disposed: no timer, the probe cancelled, nothing moves', async () => {
    const { clock, breaker, probes, changes, trip } = bench();
    trip();
    await clock.advance(5_000);
    breaker.dispose();
    breaker.dispose();
    expect(probes[0]?.cancellation.reason).toMatchObject({ code: 'stopped' });
    probes[0]?.yes();
    await clock.advance(100_000);
    expect(changes).toHaveLength(2);
    expect(clock.armed).toBe(0);

    const open = bench();
    open.trip();
    open.breaker.dispose();
    expect(open.clock.armed).toBe(0);
    const closed = bench();
    closed.breaker.dispose();
    closed.trip();
    expect(closed.changes).toEqual([]);
  });
});

/** Each of these fails with a plain `new Opossum(next).fire(request)` (`routing.md` §2.8, T1–T13). */
describe('the traps of opossum', () => {
  it('T1: how old the breaker is does not shorten its open time', async () => {
    const { clock, breaker, trip } = bench();
    await clock.advance(3_600_000);
    trip();
    await clock.advance(4_999);
    expect(breaker.state).toBe('open');
    await clock.advance(1);
    expect(breaker.state).toBe('half-open');
  });

  it('T2: a probe that hangs is a bad probe', async () => {
    const { clock, breaker, probes, trip } = bench();
    trip();
    await clock.advance(5_000);
    expect(breaker.state).toBe('half-open');
    await clock.advance(5_000);
    expect(breaker.state).toBe('open');
    expect(probes[0]?.cancellation.reason).toMatchObject({ code: 'deadline_exceeded' });
    // Its late answer belongs to the past.
    probes[0]?.yes();
    await clock.flush();
    expect(breaker.state).toBe('open');
    await clock.advance(10_000);
    probes[1]?.yes();
    await clock.flush();
    expect(breaker.state).toBe('closed');
  });

  it('T3: what started before a change neither closes nor opens', async () => {
    const { clock, breaker, probes, trip } = bench();
    const before = breaker.generation;
    trip();
    await clock.advance(5_000);
    breaker.report('ok', before);
    await clock.flush();
    expect(breaker.state).toBe('half-open');
    probes[0]?.yes();
    await clock.flush();
    for (let i = 0; i < 20; i++) breaker.report('transport', before);
    expect(breaker.state).toBe('closed');
    expect(breaker.samples.settled).toBe(0);
  });

  it('T4: refusals of our own are not failures of the replica', async () => {
    const { clock, breaker } = bench();
    const handler = through(
      breaker,
      scriptedHandler(
        failure('queue_full', { retryAfterMs: 10 }),
        failure('circuit_open'),
        failure('rate_limited'),
      ),
    );
    for (let i = 0; i < 50; i++) await handler(requestOf()).catch(() => {});
    await clock.flush();
    expect(breaker.state).toBe('closed');
    expect(breaker.samples.settled).toBe(0);
  });

  it('T5: neutral outcomes are no successes: they neither thin out the rate nor end a row', async () => {
    const { breaker, report } = bench(BY_RATIO);
    report('cancelled', 100);
    report('refused', 100);
    report('transport', 5);
    expect(breaker.state).toBe('open');

    const row = bench({ failureRatio: 1 });
    row.report('ok', 100);
    for (let i = 0; i < 5; i++) {
      row.report('transport');
      row.report('cancelled');
    }
    expect(row.breaker.state).toBe('open');
  });

  it('T6, T7: it bounds, times out and aborts nothing', async () => {
    const { clock, breaker } = bench();
    const below = heldHandler();
    const handler = through(breaker, below, clock);
    const outcomes = Array.from({ length: 30 }, () => handler(requestOf({ deadline: 1e9 })));
    await clock.advance(3_600_000);
    expect(below.calls).toHaveLength(30);
    below.calls[0]?.fail(failure('deadline_exceeded', { delivery: 'sent' }));
    await expect(outcomes[0]).rejects.toMatchObject({ code: 'deadline_exceeded' });
    expect(below.calls.every((call) => !call.request.cancellation.cancelled)).toBe(true);
    expect(breaker.samples).toEqual({ settled: 1, failed: 1 });
    for (const call of below.calls) call.reply();
    await expect(Promise.all(outcomes.slice(1))).resolves.toHaveLength(29);
  });

  it('T8: what is reported is how the request ended, not a TypeError of the breaker', async () => {
    const { breaker } = bench();
    const thrown = failure('connection_lost', { delivery: 'sent' });
    const handler = through(breaker, () => {
      throw thrown;
    });
    await expect(handler(requestOf())).rejects.toMatchObject({ code: thrown.code, detail: thrown.detail });
    expect(breaker.samples).toEqual({ settled: 1, failed: 1 });
    const answered = through(breaker, scriptedHandler({ isError: true }));
    await expect(answered(requestOf())).resolves.toEqual({ isError: true });
    expect(breaker.samples).toEqual({ settled: 2, failed: 1 });
  });

  it('T9: memory does not grow with the rate', () => {
    const fire = jest.spyOn(Opossum.prototype, 'fire');
    const { report } = bench({ ...BY_RATIO, failureRatio: 0.9 });
    for (let i = 0; i < 1_000; i++) {
      report('ok', 10);
      report('transport', 10);
    }
    const instances = new Set(fire.mock.contexts as Opossum[]);
    expect(instances.size).toBe(1);
    for (const instance of instances) {
      expect(instance.status.window.reduce((sum, bucket) => sum + bucket.latencyTimes.length, 0)).toBe(0);
    }
  });

  it('T10: requests that hang do not hide those that fail', async () => {
    const { breaker, clock } = bench(BY_RATIO);
    const below = heldHandler();
    const handler = through(breaker, below, clock);
    for (let i = 0; i < 205; i++) handler(requestOf()).catch(() => {});
    for (const call of below.calls.slice(0, 5)) call.fail(failure('connection_lost', { delivery: 'sent' }));
    await clock.flush();
    expect(breaker.state).toBe('open');
  });

  it('T11: a replica that recovered starts with a clean window', async () => {
    const { clock, breaker, probes, report, trip } = bench({ consecutive: 6, openMs: 1_000 });
    trip();
    await clock.advance(1_000);
    probes[0]?.yes();
    await clock.flush();
    expect(breaker.samples).toEqual({ settled: 0, failed: 0 });
    report('transport', 4);
    expect(breaker.state).toBe('closed');
  });

  it('T12: a timeout is one sample', async () => {
    const { breaker } = bench();
    const handler = through(breaker, scriptedHandler(failure('deadline_exceeded', { delivery: 'sent' })));
    await handler(requestOf()).catch(() => {});
    expect(breaker.samples).toEqual({ settled: 1, failed: 1 });
  });

  it('T13: 500 breakers have no interval, and what opossum arms on opening is cleared', async () => {
    const timers = new Set<unknown>();
    let armed = 0;
    const { setTimeout: arm, clearTimeout: clear } = globalThis;
    const intervals = jest.spyOn(globalThis, 'setInterval');
    jest.spyOn(globalThis, 'setTimeout').mockImplementation(((fn: () => void, ms: number) => {
      const timer = arm(fn, ms);
      timers.add(timer);
      armed++;
      return timer;
    }) as typeof setTimeout);
    jest.spyOn(globalThis, 'clearTimeout').mockImplementation((timer) => {
      timers.delete(timer);
      clear(timer);
    });
    const benches = Array.from({ length: 500 }, () => bench());
    for (const { trip } of benches) trip();
    expect(benches.every(({ breaker }) => breaker.state === 'open')).toBe(true);
    expect(intervals).not.toHaveBeenCalled();
    expect(armed).toBe(500);
    expect(timers.size).toBe(0);
    for (const { breaker, clock } of benches) {
      expect(clock.armed).toBe(1);
      breaker.dispose();
      expect(clock.armed).toBe(0);
    }
  });
});
