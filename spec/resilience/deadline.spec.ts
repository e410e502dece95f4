import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { createClock } from '../../lib/core/clock.ts';
import { SETTLE_GRACE_MS, deadline } from '../../lib/resilience/deadline.ts';
import { failure, heldHandler, requestOf, scriptedHandler } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

describe('deadline', () => {
  it('hands result and error through and leaves nothing armed', async () => {
    const clock = createVirtualClock();
    const handler = deadline({ clock })(scriptedHandler({ content: ['a'] }, failure('denied')));
    const request = requestOf();
    await expect(handler(request)).resolves.toEqual({ content: ['a'] });
    await expect(handler(request)).rejects.toMatchObject({ code: 'denied' });
    expect(clock.armed).toBe(0);
  });

  it('tells the end of each operation once, and ends it for the caller even where the telling fails', async () => {
    const clock = createVirtualClock();
    const told: unknown[] = [];
    const handler = deadline({
      clock,
      onSettled: (_, error) => {
        told.push(error);
        return error === undefined ? undefined : failure('denied');
      },
    })(scriptedHandler({ content: [] }, failure('unavailable')));
    await expect(handler(requestOf())).resolves.toEqual({ content: [] });
    await expect(handler(requestOf())).rejects.toMatchObject({ code: 'denied' });
    expect(told).toEqual([undefined, expect.objectContaining({ code: 'unavailable' })]);

    const broken = deadline({
      clock,
      onSettled: () => {
        throw new Error('a defect');
      },
    })(scriptedHandler({ content: [] }, failure('unavailable')));
    await expect(broken(requestOf())).rejects.toMatchObject({ code: 'internal' });
    await expect(broken(requestOf())).rejects.toMatchObject({ code: 'internal' });
    expect(clock.armed).toBe(0);
  });

  it('cancels at the deadline and lets the layer that holds the request say how far it got', async () => {
    const clock = createVirtualClock();
    const handler = deadline({ clock })(heldHandler());
    const outcome = handler(requestOf({ deadline: 6_000 }));
    outcome.catch(() => {});
    await clock.advance(4_999);
    expect(clock.armed).toBe(1);
    await clock.advance(1);
    await expect(outcome).rejects.toMatchObject({
      code: 'deadline_exceeded',
      delivery: 'sent',
      message: '[deadline_exceeded] alpha: tools/call alpha__echo did not finish in 5000 ms',
    });
    expect(clock.armed).toBe(0);
  });

  it('rejects by itself when nobody below reacts', async () => {
    const clock = createVirtualClock();
    const below = heldHandler({ deaf: true });
    const outcome = deadline({ clock })(below)(requestOf({ deadline: 2_000 }));
    outcome.catch(() => {});
    await clock.advance(1_000 + SETTLE_GRACE_MS - 1);
    expect(clock.armed).toBe(1);
    await clock.advance(1);
    await expect(outcome).rejects.toMatchObject({ code: 'deadline_exceeded', delivery: 'sent' });
    // A late answer harms nobody.
    below.calls[0]?.reply();
    await clock.flush();
    expect(clock.armed).toBe(0);
  });

  it('says unsent when no attempt was handed to a connection', async () => {
    const clock = createVirtualClock();
    const outcome = deadline({ clock })(() => new Promise(() => {}))(requestOf({ deadline: 2_000 }));
    await expect(clock.settle(outcome)).rejects.toMatchObject({
      code: 'deadline_exceeded',
      delivery: 'unsent',
    });
  });

  it('says unsent when no attempt has left, although some were made', async () => {
    const clock = createVirtualClock();
    const request = requestOf({ deadline: 2_000, facts: { attempts: 2, unsent: 2, rounds: 0 } });
    const outcome = deadline({ clock })(() => new Promise(() => {}))(request);
    await expect(clock.settle(outcome)).rejects.toMatchObject({
      code: 'deadline_exceeded',
      delivery: 'unsent',
    });
  });

  it('an abort of the caller is not left to layers that do not listen', async () => {
    const clock = createVirtualClock();
    const cancellation = new Cancellation();
    const outcome = deadline({ clock })(heldHandler({ deaf: true }))(requestOf({ cancellation }));
    outcome.catch(() => {});
    cancellation.cancel(failure('cancelled'));
    await clock.advance(SETTLE_GRACE_MS);
    await expect(outcome).rejects.toMatchObject({ code: 'cancelled', delivery: 'sent' });
    expect(clock.armed).toBe(0);
  });

  it('does not start what is already over', async () => {
    const clock = createVirtualClock();
    const below = scriptedHandler({});
    const handler = deadline({ clock })(below);
    const late = requestOf({ deadline: 1_000, startedAt: 1_000 });
    await expect(handler(late)).rejects.toMatchObject({ code: 'deadline_exceeded', delivery: 'unsent' });
    expect(late.cancellation.cancelled).toBe(true);
    const cancellation = new Cancellation();
    cancellation.cancel(failure('cancelled'));
    await expect(handler(requestOf({ cancellation }))).rejects.toMatchObject({ code: 'cancelled' });
    expect(below.requests).toHaveLength(0);
    expect(clock.armed).toBe(0);
  });

  it('a handler that throws instead of rejecting is settled too', async () => {
    const clock = createVirtualClock();
    const handler = deadline({ clock })(() => {
      throw failure('internal');
    });
    await expect(handler(requestOf())).rejects.toMatchObject({ code: 'internal' });
    expect(clock.armed).toBe(0);
  });

  it('holds on the production clock: in time, on one timer', async () => {
    const clock = createClock();
    const started = clock.now();
    const outcomes = Array.from({ length: 50 }, () =>
      deadline({ clock })(heldHandler())(requestOf({ startedAt: started, deadline: started + 60 })),
    );
    const codes = await Promise.all(
      outcomes.map((o) =>
        o.then(
          () => 'ok',
          (e: { code: string }) => e.code,
        ),
      ),
    );
    expect(new Set(codes)).toEqual(new Set(['deadline_exceeded']));
    expect(clock.now() - started).toBeGreaterThanOrEqual(59);
  });
});
