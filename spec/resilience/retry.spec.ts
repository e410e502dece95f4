import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { seededRandom } from '../../lib/core/ports.ts';
import type { Response } from '../../lib/core/interceptor.ts';
import { type RetryBudget, createRetryBudget } from '../../lib/resilience/retry-budget.ts';
import { type RetryOptions, backoffCeiling, retry } from '../../lib/resilience/retry.ts';
import { failure, heldHandler, readOf, requestOf, scriptedHandler } from '../support/requests.ts';
import { type VirtualClock, createVirtualClock } from '../support/virtual-clock.ts';

const POLICY = { retries: 2, baseMs: 100, capMs: 2_000 };
const OK: Response = { content: [] };

interface Bench {
  readonly clock: VirtualClock;
  readonly options: RetryOptions;
  readonly waits: number[];
}

function bench(change: Partial<RetryOptions> = {}): Bench {
  const clock = createVirtualClock();
  const waits: number[] = [];
  const options: RetryOptions = {
    clock,
    random: () => 0.5,
    policy: () => POLICY,
    budget: () => undefined,
    onRetry: (_request, _error, waitMs) => waits.push(waitMs),
    ...change,
  };
  return { clock, options, waits };
}

describe('retry', () => {
  it('asks once when the answer comes', async () => {
    const { clock, options } = bench();
    const below = scriptedHandler(OK);
    await expect(retry(options)(below)(requestOf())).resolves.toBe(OK);
    expect(below.requests).toHaveLength(1);
    expect(clock.armed).toBe(0);
  });

  it('does not wait longer than attemptMs for one attempt of what may be repeated', async () => {
    const { clock, options, waits } = bench({ policy: () => ({ ...POLICY, attemptMs: 300 }) });
    const below = heldHandler();
    const outcome = retry(options)(below)(readOf('docs://a', { deadline: clock.now() + 5_000 }));
    outcome.catch(() => {});
    await clock.advance(300);
    expect(below.calls[0]?.request.cancellation.reason).toMatchObject({
      code: 'deadline_exceeded',
      delivery: 'unsent',
    });
    await clock.advance(50);
    expect(waits).toEqual([50]);
    below.calls[1]?.reply(OK);
    await expect(clock.settle(outcome)).resolves.toBe(OK);
    expect(clock.armed).toBe(0);
    // What must not be repeated has all the time there is.
    const unsafe = retry(options)(below)(requestOf({ deadline: clock.now() + 5_000 }));
    await clock.advance(4_000);
    below.calls[2]?.reply(OK);
    await expect(clock.settle(unsafe)).resolves.toBe(OK);
  });

  it('asks again what was not sent, elsewhere, after a wait with full jitter', async () => {
    const { clock, options, waits } = bench();
    const below = scriptedHandler(
      failure('unavailable', { connection: 'alpha#0' }),
      failure('connection_lost', { connection: 'alpha#1' }),
      OK,
    );
    await expect(clock.settle(retry(options)(below)(requestOf()))).resolves.toBe(OK);
    expect(waits).toEqual([50, 100]);
    expect(clock.now()).toBe(1_150);
    expect(below.requests.map((r) => [r.attempt, r.tried])).toEqual([
      [1, []],
      [2, ['alpha#0']],
      [3, ['alpha#0', 'alpha#1']],
    ]);
    expect(below.requests.every((r) => Object.isFrozen(r))).toBe(true);
    expect(clock.armed).toBe(0);
  });

  it('gives up after `retries` further attempts with the last error and its number', async () => {
    const { clock, options } = bench();
    const below = scriptedHandler(
      failure('unavailable'),
      failure('unavailable'),
      failure('circuit_open'),
      OK,
    );
    await expect(clock.settle(retry(options)(below)(requestOf()))).rejects.toMatchObject({
      code: 'circuit_open',
      attempt: 3,
    });
    expect(below.requests).toHaveLength(3);
  });

  it('never asks again what may have run and must not run twice', async () => {
    const { options } = bench();
    const below = scriptedHandler(
      failure('connection_lost', { delivery: 'sent', connection: 'alpha#0' }),
      OK,
    );
    await expect(retry(options)(below)(requestOf())).rejects.toMatchObject({
      code: 'outcome_unknown',
      delivery: 'sent',
      connection: 'alpha#0',
    });
    expect(below.requests).toHaveLength(1);
  });

  it('stops as soon as a later attempt of an unsafe request may have run', async () => {
    const { clock, options } = bench();
    const below = scriptedHandler(
      failure('unavailable'),
      failure('connection_lost', { delivery: 'sent' }),
      OK,
    );
    await expect(clock.settle(retry(options)(below)(requestOf()))).rejects.toMatchObject({
      code: 'outcome_unknown',
      attempt: 2,
    });
    expect(below.requests).toHaveLength(2);
  });

  it('names a lost unsafe request even where nothing is retried', async () => {
    const { options } = bench({ policy: () => undefined });
    const below = scriptedHandler(failure('connection_lost', { delivery: 'sent' }));
    await expect(retry(options)(below)(requestOf())).rejects.toMatchObject({ code: 'outcome_unknown' });
  });

  it('asks a broken read again; a read that stays broken is connection_lost', async () => {
    const { clock, options } = bench();
    const lost = failure('connection_lost', { delivery: 'sent' });
    await expect(clock.settle(retry(options)(scriptedHandler(lost, OK))(readOf('a:1')))).resolves.toBe(OK);
    await expect(clock.settle(retry(options)(scriptedHandler(lost))(readOf('a:1')))).rejects.toMatchObject({
      code: 'connection_lost',
    });
  });

  it('does not forget that an earlier attempt may have run', async () => {
    const { clock, options } = bench();
    const below = scriptedHandler(
      failure('connection_lost', { delivery: 'sent' }),
      failure('unavailable'),
      failure('unavailable'),
    );
    const outcome = clock.settle(retry(options)(below)(requestOf({ operation: 'idempotent' })));
    await expect(outcome).rejects.toMatchObject({ code: 'unavailable', delivery: 'sent' });
  });

  it('a refusal or a bug is handed on untouched', async () => {
    const { options } = bench();
    for (const error of [
      failure('denied'),
      failure('protocol_error', { delivery: 'answered' }),
      new TypeError('bug'),
    ]) {
      const below = scriptedHandler(error);
      await expect(retry(options)(below)(requestOf())).rejects.toBe(error);
      expect(below.requests).toHaveLength(1);
    }
  });

  it('a foreign error in a later attempt ends the loop, whatever its class', async () => {
    const { clock, options } = bench();
    for (const thrown of [
      new TypeError('fetch failed'),
      Object.assign(new Error('x'), { name: 'AbortError' }),
    ]) {
      const below = scriptedHandler(failure('unavailable'), thrown);
      await expect(clock.settle(retry(options)(below)(readOf('a:1')))).rejects.toMatchObject({
        code: 'internal',
        attempt: 2,
      });
      expect(below.requests).toHaveLength(2);
    }
  });

  it('waits as long as the server says', async () => {
    const { clock, options, waits } = bench();
    const below = scriptedHandler(failure('rate_limited', { delivery: 'answered', retryAfterMs: 1_500 }), OK);
    await clock.settle(retry(options)(below)(requestOf()));
    expect(waits).toEqual([1_500]);
  });

  it('does not wait for what ends after the deadline', async () => {
    const { clock, options } = bench();
    const below = scriptedHandler(failure('rate_limited', { delivery: 'answered', retryAfterMs: 5_000 }));
    const outcome = retry(options)(below)(requestOf({ deadline: 6_000 }));
    await expect(outcome).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 5_000 });
    expect(clock.now()).toBe(1_000);
    expect(below.requests).toHaveLength(1);
  });

  it('a cancellation ends the wait at once and leaves no timer', async () => {
    const { clock, options } = bench();
    const cancellation = new Cancellation();
    const below = scriptedHandler(failure('unavailable'));
    const outcome = retry(options)(below)(requestOf({ cancellation }));
    outcome.catch(() => {});
    await clock.advance(10);
    expect(clock.armed).toBe(1);
    cancellation.cancel(failure('cancelled'));
    await expect(outcome).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.armed).toBe(0);
    expect(below.requests).toHaveLength(1);
  });

  it('a cancellation in a running attempt is not retried', async () => {
    const { clock, options } = bench();
    const cancellation = new Cancellation();
    const below = heldHandler();
    const outcome = retry(options)(below)(readOf('a:1', { cancellation }));
    outcome.catch(() => {});
    await clock.flush();
    cancellation.cancel(failure('deadline_exceeded'));
    await expect(outcome).rejects.toMatchObject({ code: 'deadline_exceeded', delivery: 'sent' });
    expect(below.calls).toHaveLength(1);
  });

  it('a used-up budget ends retrying; each request earns a tenth', async () => {
    const budget: { current?: RetryBudget } = {};
    const { clock, options } = bench({ budget: () => budget.current });
    budget.current = createRetryBudget({ clock, ratio: 0.1, minPerSecond: 0, windowMs: 1e6 });
    const below = scriptedHandler(failure('unavailable'));
    const handler = retry(options)(below);
    for (let i = 0; i < 100; i++)
      await expect(clock.settle(handler(requestOf({ deadline: 1e9 })))).rejects.toThrow('[unavailable]');
    expect(below.requests.length).toBe(110);
  });

  it('the waits are the same for the same seed and stay below min(cap, base · 2^k)', async () => {
    const run = async (seed: number): Promise<number[]> => {
      const { clock, options, waits } = bench({
        random: seededRandom(seed),
        policy: () => ({ ...POLICY, retries: 8 }),
      });
      await clock
        .settle(retry(options)(scriptedHandler(failure('unavailable')))(requestOf()))
        .catch(() => {});
      return waits;
    };
    const waits = await run(7);
    expect(waits).toHaveLength(8);
    expect(await run(7)).toEqual(waits);
    expect(await run(8)).not.toEqual(waits);
    for (const [k, wait] of waits.entries()) expect(wait).toBeLessThan(backoffCeiling(POLICY, k));
    expect([0, 1, 2, 3, 4, 5, 6].map((k) => backoffCeiling(POLICY, k))).toEqual([
      100, 200, 400, 800, 1600, 2000, 2000,
    ]);
  });
});
