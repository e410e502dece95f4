import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { createTokenBucket, rateLimit } from '../../lib/resilience/rate-limit.ts';
import { failure, requestOf, scriptedHandler } from '../support/requests.ts';
import { type VirtualClock, createVirtualClock } from '../support/virtual-clock.ts';

function bench(perSecond: number, burst: number) {
  const clock = createVirtualClock();
  const below = scriptedHandler({});
  const times: number[] = [];
  const bucket = createTokenBucket({ clock, perSecond, burst });
  const handler = rateLimit({ clock, bucket: () => bucket })((request) => {
    times.push(clock.now() - 1_000);
    return below(request);
  });
  return { clock, handler, times, bucket };
}

const settleAll = async (clock: VirtualClock, outcomes: readonly Promise<unknown>[]): Promise<string[]> =>
  clock.settle(
    Promise.all(
      outcomes.map((o) =>
        o.then(
          () => 'ok',
          (e: { code: string }) => e.code,
        ),
      ),
    ),
  );

describe('rate limit', () => {
  it('lets a burst through and the rest at the rate, in order', async () => {
    const { clock, handler, times } = bench(10, 3);
    await settleAll(
      clock,
      Array.from({ length: 6 }, () => handler(requestOf())),
    );
    expect(times).toEqual([0, 0, 0, 100, 200, 300]);
    await clock.advance(10_000);
    times.length = 0;
    await settleAll(
      clock,
      Array.from({ length: 4 }, () => handler(requestOf())),
    );
    expect(times.map((t) => t - 10_300)).toEqual([0, 0, 0, 100]);
    expect(clock.armed).toBe(0);
  });

  it('refuses what would have its turn after the deadline, with the time', async () => {
    const { clock, handler } = bench(1, 1);
    await handler(requestOf());
    await expect(handler(requestOf({ deadline: 1_900 }))).rejects.toMatchObject({
      code: 'rate_limited',
      delivery: 'unsent',
      retryAfterMs: 1_000,
      server: 'alpha',
    });
    // The refused one took no turn.
    await expect(clock.settle(handler(requestOf({ deadline: 2_100 })))).resolves.toEqual({});
    expect(clock.now()).toBe(2_000);
  });

  it('who gives up while waiting gives the turn back', async () => {
    const { clock, handler, bucket } = bench(1, 1);
    const cancellation = new Cancellation();
    await handler(requestOf());
    const waiting = handler(requestOf({ cancellation }));
    waiting.catch(() => {});
    expect(bucket.waitMs).toBe(2_000);
    cancellation.cancel(failure('cancelled'));
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    expect(bucket.waitMs).toBe(1_000);
    expect(clock.armed).toBe(0);
  });

  it('is no layer without a limit, and waits for nothing at an infinite rate', async () => {
    const answer = Promise.resolve({});
    const clock = createVirtualClock();
    expect(rateLimit({ clock, bucket: () => undefined })(() => answer)(requestOf())).toBe(answer);
    for (const burst of [1, Infinity]) {
      const { handler, times } = bench(Infinity, burst);
      await Promise.all(Array.from({ length: 50 }, () => handler(requestOf())));
      expect(times).toEqual(Array.from({ length: 50 }, () => 0));
    }
  });

  it('in no span are more let through than burst + rate × span', async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 10 }),
      fc.array(fc.nat(400), { minLength: 1, maxLength: 40 }),
      async (perSecond, burst, gaps) => {
        const { clock, handler, times } = bench(perSecond, burst);
        const outcomes: Promise<unknown>[] = [];
        for (const gap of gaps) {
          outcomes.push(handler(requestOf({ deadline: 1e9 })));
          await clock.advance(gap);
        }
        await settleAll(clock, outcomes);
        for (let i = 0; i < times.length; i++) {
          for (let j = i; j < times.length; j++) {
            const span = (times[j] ?? 0) - (times[i] ?? 0);
            if (j - i + 1 > burst + (perSecond * span) / 1000 + 1e-6) return false;
          }
        }
        return times.length === gaps.length;
      },
    );
    await expect(fc.assert(property, { numRuns: 40 })).resolves.toBeUndefined();
  });
});
