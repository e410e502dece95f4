import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Cancellation } from '../../lib/core/cancellation.ts';
import {
  type BulkheadOptions,
  type Bulkhead,
  createBulkhead,
  queueCap,
  slots,
} from '../../lib/resilience/bulkhead.ts';
import { failure, heldHandler, requestOf, scriptedHandler } from '../support/requests.ts';
import { type VirtualClock, createVirtualClock } from '../support/virtual-clock.ts';

function bench(options: Partial<BulkheadOptions> = {}): { clock: VirtualClock; bulkhead: Bulkhead } {
  const clock = createVirtualClock();
  return {
    clock,
    bulkhead: createBulkhead({ clock, name: 'replica alpha#0', max: 2, maxQueue: 3, ...options }),
  };
}

const order = (
  calls: readonly { request: { seq: number } }[],
  requests: readonly { seq: number }[],
): number[] => calls.map((call) => requests.findIndex((request) => request.seq === call.request.seq));

describe('slots', () => {
  it('runs as many as it has slots; the others wait in the order they came', async () => {
    const { clock, bulkhead } = bench();
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    const requests = Array.from({ length: 5 }, () => requestOf());
    const outcomes = requests.map((request) => handler(request));
    await clock.flush();
    expect([bulkhead.inFlight, bulkhead.queued, bulkhead.hasFree]).toEqual([2, 3, false]);
    for (let i = 0; i < 5; i++) {
      below.calls[i]?.reply({ i });
      await clock.flush();
    }
    expect(order(below.calls, requests)).toEqual([0, 1, 2, 3, 4]);
    await expect(Promise.all(outcomes)).resolves.toEqual([0, 1, 2, 3, 4].map((i) => ({ i })));
    expect([bulkhead.inFlight, bulkhead.queued, bulkhead.hasFree]).toEqual([0, 0, true]);
  });

  it('refuses when the line is full, unsent and with a time', async () => {
    const { clock, bulkhead } = bench({ maxQueue: 1, server: 'alpha' });
    const handler = slots({ bulkhead, clock })(heldHandler());
    for (let i = 0; i < 3; i++) void handler(requestOf());
    await expect(handler(requestOf({ attempt: 2 }))).rejects.toMatchObject({
      code: 'queue_full',
      message: '[queue_full] alpha: replica alpha#0 has 2 of 2 slots taken and 1 requests waiting',
      server: 'alpha',
      delivery: 'unsent',
      attempt: 2,
      retryAfterMs: 100,
    });
  });

  it('says how long the line takes once it knows how long requests take', async () => {
    const { clock, bulkhead } = bench({ maxQueue: 1 });
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    void handler(requestOf());
    await clock.advance(400);
    below.calls[0]?.reply();
    await clock.flush();
    expect(bulkhead.meanMs).toBe(400);
    for (let i = 0; i < 3; i++) void handler(requestOf());
    await expect(handler(requestOf())).rejects.toMatchObject({ code: 'queue_full', retryAfterMs: 400 });
  });

  it('a slot comes back however the request ends', async () => {
    const { clock, bulkhead } = bench();
    const handler = slots({ bulkhead, clock })(scriptedHandler({}, failure('denied'), { isError: true }));
    for (let i = 0; i < 3; i++) await handler(requestOf()).catch(() => {});
    await slots({
      bulkhead,
      clock,
    })(() => {
      throw failure('internal');
    })(requestOf()).catch(() => {});
    expect(bulkhead.inFlight).toBe(0);
  });

  it('who gives up leaves the line at once, and nothing of it remains', async () => {
    const { clock, bulkhead } = bench({ max: 1 });
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    const cancellation = new Cancellation();
    void handler(requestOf());
    const leaving = handler(requestOf({ cancellation }));
    leaving.catch(() => {});
    const staying = requestOf();
    void handler(staying);
    cancellation.cancel(failure('cancelled'));
    await expect(leaving).rejects.toMatchObject({ code: 'cancelled', delivery: 'unsent' });
    expect(bulkhead.queued).toBe(1);
    below.calls[0]?.reply();
    await clock.flush();
    expect(below.calls[1]?.request).toBe(staying);
    await expect(handler(requestOf({ cancellation }))).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('drops expired work when it comes and when its turn comes', async () => {
    const { clock, bulkhead } = bench({ max: 1 });
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    void handler(requestOf());
    await expect(handler(requestOf({ deadline: 1_000 }))).rejects.toMatchObject({
      code: 'deadline_exceeded',
    });
    const expiring = handler(requestOf({ deadline: 1_500 }));
    expiring.catch(() => {});
    const later = requestOf();
    void handler(later);
    await clock.advance(600);
    below.calls[0]?.reply();
    await clock.flush();
    await expect(expiring).rejects.toMatchObject({ code: 'deadline_exceeded', delivery: 'unsent' });
    expect(below.calls.map((call) => call.request).slice(1)).toEqual([later]);
  });

  it('takes no more than can still end in time', async () => {
    const { clock, bulkhead } = bench({ max: 2, maxQueue: 1_000 });
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    void handler(requestOf());
    await clock.advance(100);
    below.calls[0]?.reply();
    await clock.flush();
    // 2 slots, 500 ms left, 100 ms each: 8 may wait.
    const outcomes = Array.from({ length: 20 }, () => handler(requestOf({ deadline: clock.now() + 500 })));
    const codes = outcomes.map((outcome) =>
      outcome.then(
        () => 'ok',
        (e: { code: string }) => e.code,
      ),
    );
    expect(bulkhead.queued).toBe(8);
    for (let i = 1; i < below.calls.length; i += 2) {
      await clock.advance(100);
      below.calls[i]?.reply();
      below.calls[i + 1]?.reply();
      await clock.flush();
    }
    const settled = await Promise.all(codes);
    expect(settled.filter((code) => code === 'ok')).toHaveLength(10);
    expect(settled.filter((code) => code === 'queue_full')).toHaveLength(10);
  });

  it('tells when a slot is free that nobody waits for', async () => {
    let free = 0;
    const { clock, bulkhead } = bench({ max: 1, onFree: () => free++ });
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    void handler(requestOf());
    void handler(requestOf());
    below.calls[0]?.reply();
    await clock.flush();
    expect(free).toBe(0);
    below.calls[1]?.reply();
    await clock.flush();
    expect(free).toBe(1);
  });

  it('adaptive LIFO: the newest first once the line has stood for 100 ms', async () => {
    for (const [discipline, expected] of [
      ['fifo', [0, 1, 2, 3]],
      ['adaptive-lifo', [0, 3, 2, 1]],
    ] as const) {
      const { clock, bulkhead } = bench({ max: 1, discipline });
      const below = heldHandler();
      const handler = slots({ bulkhead, clock })(below);
      const requests = Array.from({ length: 4 }, () => requestOf());
      for (const request of requests) void handler(request);
      await clock.advance(101);
      for (let i = 0; i < 4; i++) {
        below.calls[i]?.reply();
        await clock.flush();
      }
      expect(order(below.calls, requests)).toEqual(expected);
    }
  });

  it('adaptive LIFO serves a short line in order', async () => {
    const { clock, bulkhead } = bench({ max: 1, discipline: 'adaptive-lifo' });
    const below = heldHandler();
    const handler = slots({ bulkhead, clock })(below);
    const requests = Array.from({ length: 3 }, () => requestOf());
    for (const request of requests) void handler(request);
    await clock.advance(99);
    for (let i = 0; i < 3; i++) {
      below.calls[i]?.reply();
      await clock.flush();
    }
    expect(order(below.calls, requests)).toEqual([0, 1, 2]);
  });

  it('adaptive: fewer slots on overload down to one, one more at a time when they are used', () => {
    const { bulkhead } = bench({ max: 8, adaptive: {} });
    const run = (outcome: 'ok' | 'timeout' | 'cancelled'): void => {
      while (bulkhead.tryAcquire());
      bulkhead.release(10, outcome);
      while (bulkhead.inFlight > 0) bulkhead.release(10, 'cancelled');
    };
    run('timeout');
    expect(bulkhead.limit).toBe(7);
    for (let i = 0; i < 30; i++) run('timeout');
    expect(bulkhead.limit).toBe(1);
    run('cancelled');
    expect(bulkhead.limit).toBe(1);
    run('ok');
    expect(bulkhead.limit).toBe(2);
    for (let i = 0; i < 30; i++) run('ok');
    expect(bulkhead.limit).toBe(8);
    // One in eight used: no reason to grow.
    run('timeout');
    bulkhead.tryAcquire();
    bulkhead.release(10, 'ok');
    expect(bulkhead.limit).toBe(7);
  });
});

describe('queueCap', () => {
  it('is ⌊slots · (remaining − mean) / mean⌋ within the bounds', () => {
    expect(queueCap(10, 1_000, 100, 256)).toBe(90);
    expect(queueCap(10, 1_000, 100, 50)).toBe(50);
    expect(queueCap(1, 100, 100, 256)).toBe(0);
    expect(queueCap(1, 50, 100, 256)).toBe(0);
    expect(queueCap(4, 1_000, 0, 256)).toBe(256);
    expect(queueCap(4, 0, 0, 256)).toBe(0);
    expect(queueCap(2, Infinity, 10, 256)).toBe(256);
  });

  it('whoever is let in at the end of the line still ends in time', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 10_000 }),
      fc.integer({ min: 1, max: 60_000 }),
      (slots, meanMs, remainingMs) => {
        const cap = queueCap(slots, remainingMs, meanMs, Infinity);
        // The last of the line starts after ⌈cap / slots⌉ rounds and takes one more; the first round has just begun.
        return cap === 0 || Math.ceil(cap / slots) * meanMs <= remainingMs;
      },
    );
    expect(() => fc.assert(property)).not.toThrow();
  });

  it('slots are neither lost nor made, whatever happens', () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.constantFrom('ask', 'reply', 'fail', 'give up', 'wait'), { maxLength: 60 }),
      async (max, steps) => {
        const { clock, bulkhead } = bench({ max, maxQueue: 5 });
        const below = heldHandler();
        const handler = slots({ bulkhead, clock })(below);
        const open: Cancellation[] = [];
        let done = 0;
        for (const step of steps) {
          if (step === 'ask') {
            const cancellation = new Cancellation();
            open.push(cancellation);
            handler(requestOf({ cancellation, deadline: clock.now() + 300 })).catch(() => {});
          } else if (step === 'give up') open.shift()?.cancel(failure('cancelled'));
          else if (step === 'wait') await clock.advance(70);
          else if (step === 'reply') below.calls[done++]?.reply();
          else below.calls[done++]?.fail(failure('connection_lost'));
          await clock.flush();
          if (bulkhead.inFlight > max || bulkhead.queued > 5) return false;
          if (bulkhead.queued > 0 && bulkhead.hasFree) return false;
        }
        for (const cancellation of open) cancellation.cancel(failure('cancelled'));
        await clock.flush();
        return bulkhead.inFlight === 0 && bulkhead.queued === 0;
      },
    );
    return expect(fc.assert(property, { numRuns: 60 })).resolves.toBeUndefined();
  });
});
