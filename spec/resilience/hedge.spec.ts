import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import type { Handler } from '../../lib/core/interceptor.ts';
import { type HedgeOptions, type HedgePolicy, hedge } from '../../lib/resilience/hedge.ts';
import { createRetryBudget } from '../../lib/resilience/retry-budget.ts';
import { type HeldCall, failure, heldHandler, readOf, requestOf } from '../support/requests.ts';
import { type VirtualClock, createVirtualClock } from '../support/virtual-clock.ts';

const POLICY: HedgePolicy = {
  quantile: 0.95,
  minSamples: 20,
  minDelayMs: 1,
  budgetRatio: 0.05,
  maxUtilisation: 0.5,
};

interface Bench {
  readonly clock: VirtualClock;
  readonly handler: Handler;
  readonly calls: HeldCall[];
}

/** 20 reads of 50 ms have been made: p95 is 50 ms, and one second request has been earned. */
async function warm(change: Partial<HedgeOptions> = {}, clock = createVirtualClock()): Promise<Bench> {
  const below = heldHandler();
  const handler = hedge({
    clock,
    policy: () => POLICY,
    budget: () => undefined,
    utilisation: () => 0,
    ...change,
  })(below);
  for (let i = 0; i < 20; i++) {
    const outcome = handler(readOf('a:1', { deadline: 1e9 }));
    await clock.advance(50);
    below.calls[i]?.reply();
    await outcome;
  }
  below.calls.length = 0;
  return { clock, handler, calls: below.calls };
}

const read = (change: Parameters<typeof readOf>[1] = {}) => readOf('a:1', { deadline: 1e9, ...change });

describe('hedge', () => {
  it('is no layer for what may change something, nor where it is off', () => {
    const answer = Promise.resolve({});
    const options = { clock: createVirtualClock(), budget: () => undefined, utilisation: () => 0 };
    const on = hedge({ ...options, policy: () => POLICY })(() => answer);
    expect(on(requestOf())).toBe(answer);
    expect(on(requestOf({ operation: 'idempotent' }))).toBe(answer);
    expect(hedge({ ...options, policy: () => undefined })(() => answer)(read())).toBe(answer);
  });

  it('asks a second time after the p95, elsewhere; the first success wins and the loser is cancelled', async () => {
    const { clock, handler, calls } = await warm();
    const request = read();
    const outcome = handler(request);
    request.facts.connection = 'alpha#0';
    await clock.advance(49);
    expect(calls).toHaveLength(1);
    await clock.advance(1);
    expect(calls).toHaveLength(2);
    expect(calls[1]?.request.tried).toEqual(['alpha#0']);
    calls[1]?.reply({ from: 'second' });
    await expect(outcome).resolves.toEqual({ from: 'second' });
    expect(calls[0]?.request.cancellation.reason).toMatchObject({ code: 'cancelled' });
    expect(calls[1]?.request.cancellation.cancelled).toBe(false);
    expect(request.cancellation.cancelled).toBe(false);
    expect(clock.armed).toBe(0);
  });

  it('a first request that is quick enough stays alone', async () => {
    const { clock, handler, calls } = await warm();
    const outcome = handler(read());
    await clock.advance(40);
    calls[0]?.reply({ from: 'first' });
    await expect(outcome).resolves.toEqual({ from: 'first' });
    await clock.advance(1_000);
    expect(calls).toHaveLength(1);
    expect(clock.armed).toBe(0);
  });

  it('a fast failure never wins', async () => {
    const { clock, handler, calls } = await warm();
    const outcome = handler(read());
    await clock.advance(50);
    calls[1]?.fail(failure('unavailable'));
    await clock.advance(500);
    calls[0]?.reply({ from: 'first' });
    await expect(outcome).resolves.toEqual({ from: 'first' });
  });

  it('a failure of the first starts the second at once', async () => {
    const { clock, handler, calls } = await warm();
    const outcome = handler(read());
    calls[0]?.fail(failure('connection_lost', { delivery: 'sent' }));
    await clock.flush();
    expect(calls).toHaveLength(2);
    expect(clock.armed).toBe(0);
    calls[1]?.reply({ from: 'second' });
    await expect(outcome).resolves.toEqual({ from: 'second' });
  });

  it('both failing is a failure, with the last error', async () => {
    const { clock, handler, calls } = await warm();
    const outcome = handler(read());
    outcome.catch(() => {});
    await clock.advance(50);
    calls[0]?.fail(failure('connection_lost', { delivery: 'sent' }));
    await clock.flush();
    calls[1]?.fail(failure('rate_limited', { delivery: 'answered' }));
    await expect(outcome).rejects.toMatchObject({ code: 'rate_limited' });
    expect(calls).toHaveLength(2);
  });

  it('an answer that says no is not asked again', async () => {
    const { clock, handler, calls } = await warm();
    const outcome = handler(read());
    calls[0]?.fail(failure('not_found', { delivery: 'answered' }));
    await expect(outcome).rejects.toMatchObject({ code: 'not_found' });
    await clock.advance(1_000);
    expect(calls).toHaveLength(1);
  });

  it('knows too little before 20 samples, and learns per tool', async () => {
    const { clock, handler, calls } = await warm();
    const outcome = handler(requestOf({ operation: 'read-only', target: 'alpha__slow', deadline: 1e9 }));
    await clock.advance(10_000);
    expect(calls).toHaveLength(1);
    calls[0]?.reply();
    await outcome;
  });

  it('at most one in twenty is asked twice', async () => {
    const { clock, handler, calls } = await warm();
    for (let i = 0; i < 100; i++) {
      const before = calls.length;
      const outcome = handler(read());
      await clock.advance(51);
      calls[before]?.reply();
      await outcome;
    }
    // 120 requests earned 6, the first of them expired with the window of 10 s.
    expect(calls.length - 100).toBeGreaterThanOrEqual(4);
    expect(calls.length - 100).toBeLessThanOrEqual(6);
  });

  it('spends the budget of the retries too', async () => {
    const clock = createVirtualClock();
    const shared = createRetryBudget({ clock, ratio: 0, minPerSecond: 0.1, windowMs: 10_000 });
    const { handler, calls } = await warm({ budget: () => shared }, clock);
    expect(shared.balance).toBe(1);
    const outcome = handler(read());
    await clock.advance(60);
    expect(calls).toHaveLength(2);
    expect(shared.balance).toBe(0);
    calls[0]?.reply();
    await outcome;

    const poor = await warm({
      budget: () => createRetryBudget({ clock, ratio: 0, minPerSecond: 0, windowMs: 1_000 }),
    });
    void poor.handler(read());
    await poor.clock.advance(1_000);
    expect(poor.calls).toHaveLength(1);
  });

  it('a busy pool is not asked twice', async () => {
    const { clock, handler, calls } = await warm({ utilisation: () => 0.51 });
    void handler(read());
    await clock.advance(1_000);
    expect(calls).toHaveLength(1);
  });

  it('the caller giving up ends both, and no second one is started', async () => {
    const { clock, handler, calls } = await warm();
    const cancellation = new Cancellation();
    const outcome = handler(read({ cancellation }));
    outcome.catch(() => {});
    await clock.advance(50);
    expect(calls).toHaveLength(2);
    cancellation.cancel(failure('cancelled'));
    await expect(outcome).rejects.toMatchObject({ code: 'cancelled' });
    expect(calls.every((call) => call.request.cancellation.cancelled)).toBe(true);
    expect(clock.armed).toBe(0);

    const early = await warm();
    const gone = new Cancellation();
    const second = early.handler(read({ cancellation: gone }));
    gone.cancel(failure('cancelled'));
    await expect(second).rejects.toMatchObject({ code: 'cancelled' });
    await early.clock.advance(1_000);
    expect(early.calls).toHaveLength(1);
    expect(early.clock.armed).toBe(0);
  });
});
