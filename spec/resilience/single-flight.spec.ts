import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import type { Progress, Request } from '../../lib/core/request.ts';
import { deadline } from '../../lib/resilience/deadline.ts';
import { singleFlight } from '../../lib/resilience/single-flight.ts';
import { failure, heldHandler, readOf, requestOf } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const clock = createVirtualClock();

function bench() {
  const below = heldHandler();
  return { below, handler: singleFlight({ clock })(below) };
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('single flight', () => {
  it('identical reads at the same time are one call, each with a result of its own', async () => {
    const { below, handler } = bench();
    const requests = Array.from({ length: 5 }, () => readOf('a:1'));
    const outcomes = requests.map((request) => handler(request));
    expect(below.calls).toHaveLength(1);
    below.calls[0]?.reply({ contents: ['x'] });
    const results = await Promise.all(outcomes);
    for (const result of results) expect(result).toEqual({ contents: ['x'] });
    expect(new Set(results).size).toBe(5);
    expect(requests.map((request) => request.facts.cache)).toEqual([
      undefined,
      'shared',
      'shared',
      'shared',
      'shared',
    ]);
    expect(requests.every((request) => request.facts.attempts === 1)).toBe(true);
    // The next one asks anew.
    void handler(readOf('a:1'));
    expect(below.calls).toHaveLength(2);
  });

  it('shares nothing between different questions, principals, keys, or what changes something', () => {
    const { below, handler } = bench();
    const different: Request[] = [
      readOf('a:1'),
      readOf('a:2'),
      readOf('a:1', { server: 'beta' }),
      readOf('a:1', { principal: { id: 'ann' } }),
      readOf('a:1', { principal: { id: 'bob' } }),
      readOf('a:1', { affinity: 'k' }),
      readOf('a:1', { cache: 'refresh' }),
      readOf('a:1', { cache: 'refresh' }),
      readOf('a:1', { cache: 'bypass' }),
      requestOf(),
      requestOf(),
      requestOf({ operation: 'idempotent' }),
    ];
    for (const request of different) void handler(request);
    expect(below.calls).toHaveLength(different.length);
  });

  it('is no layer for what changes something', () => {
    const answer = Promise.resolve({});
    const request = requestOf();
    expect(singleFlight({ clock })(() => answer)(request)).toBe(answer);
  });

  it('one caller leaving leaves the others, also when it was the first', async () => {
    const { below, handler } = bench();
    const cancellation = new Cancellation();
    const leaving = handler(readOf('a:1', { cancellation }));
    leaving.catch(() => {});
    const staying = handler(readOf('a:1'));
    cancellation.cancel(failure('cancelled'));
    await expect(leaving).rejects.toMatchObject({ code: 'cancelled', delivery: 'sent' });
    expect(below.calls[0]?.request.cancellation.cancelled).toBe(false);
    // Who comes now still joins.
    const late = handler(readOf('a:1'));
    below.calls[0]?.reply({ contents: [] });
    await expect(Promise.all([staying, late])).resolves.toHaveLength(2);
    expect(below.calls).toHaveLength(1);
  });

  it('the last one to leave cancels the call, and nobody joins it any more', async () => {
    const { below, handler } = bench();
    const cancellations = [new Cancellation(), new Cancellation()];
    const outcomes = cancellations.map((cancellation) => handler(readOf('a:1', { cancellation })));
    cancellations[0]?.cancel(failure('cancelled'));
    expect(below.calls[0]?.request.cancellation.cancelled).toBe(false);
    cancellations[1]?.cancel(failure('deadline_exceeded'));
    expect(below.calls[0]?.request.cancellation.reason).toMatchObject({ code: 'deadline_exceeded' });
    const next = handler(readOf('a:1'));
    expect(below.calls).toHaveLength(2);
    await expect(outcomes[0]).rejects.toMatchObject({ code: 'cancelled' });
    await expect(outcomes[1]).rejects.toMatchObject({ code: 'deadline_exceeded' });
    await turn();
    // The end of the cancelled call does not take the new one out of sight.
    void handler(readOf('a:1'));
    expect(below.calls).toHaveLength(2);
    below.calls[1]?.reply({});
    await expect(next).resolves.toEqual({});
  });

  it('a failure is the failure of all, and is not remembered', async () => {
    const { below, handler } = bench();
    const outcomes = [handler(readOf('a:1')), handler(readOf('a:1'))];
    below.calls[0]?.fail(failure('connection_lost', { delivery: 'sent' }));
    for (const outcome of outcomes) await expect(outcome).rejects.toMatchObject({ code: 'connection_lost' });
    void handler(readOf('a:1'));
    expect(below.calls).toHaveLength(2);
  });

  it('a handler that throws does not leave a flight behind', async () => {
    const handler = singleFlight({ clock })(() => {
      throw failure('internal');
    });
    for (let i = 0; i < 2; i++)
      await expect(handler(readOf('a:1'))).rejects.toMatchObject({ code: 'internal' });
  });

  it('each caller keeps its own deadline', async () => {
    const clock = createVirtualClock();
    const below = heldHandler();
    const path = deadline({ clock })(singleFlight({ clock })(below));
    const codes: string[] = [];
    const ask = (timeoutMs: number): Promise<unknown> =>
      path(readOf('a:1', { startedAt: clock.now(), deadline: clock.now() + timeoutMs })).then(
        () => codes.push(`ok@${clock.now() - 1_000}`),
        (error: { code: string }) => codes.push(`${error.code}@${clock.now() - 1_000}`),
      );
    const all = [ask(1_000)];
    await clock.advance(900);
    all.push(ask(1_000), ask(50));
    expect(below.calls).toHaveLength(1);
    await clock.advance(800);
    below.calls[0]?.reply({});
    await Promise.all(all);
    expect(codes).toEqual(['deadline_exceeded@950', 'deadline_exceeded@1000', 'ok@1700']);
    expect(clock.armed).toBe(0);
  });

  describe('has the time of its first caller', () => {
    const at = (startedAt: number, deadline: number): Request => readOf('a:1', { startedAt, deadline });

    it.each([
      ['a failure just before its deadline', failure('rate_limited'), 1_500],
      ['a server that asks to wait beyond it', failure('unavailable').with({ retryAfterMs: 5_000 }), 0],
    ])('who has much more asks again after %s', async (_what, error, afterMs) => {
      const own = createVirtualClock();
      const below = heldHandler();
      const handler = singleFlight({ clock: own })(below);
      const now = own.now();
      const first = handler(at(now, now + 2_000));
      const second = handler(at(now, now + 9_000));
      await own.advance(afterMs);
      below.calls[0]?.fail(error);
      await expect(first).rejects.toMatchObject({ code: error.code });
      expect(below.calls.map(({ request }) => request.deadline - now)).toEqual([2_000, 9_000]);
      below.calls[1]?.reply({ late: true });
      await expect(second).resolves.toEqual({ late: true });
    });

    it('what failed while there was time fails for all, and callers of like patience do not ask one by one', async () => {
      const own = createVirtualClock();
      const below = heldHandler();
      const handler = singleFlight({ clock: own })(below);
      const now = own.now();
      const early = [handler(at(now, now + 9_000)), handler(at(now, now + 30_000))];
      below.calls[0]?.fail(failure('rate_limited'));
      for (const one of early) await expect(one).rejects.toMatchObject({ code: 'rate_limited' });
      const late = Array.from({ length: 5 }, (_, i) => handler(at(now + 2 * i, now + 9_000 + 2 * i)));
      await own.advance(8_900);
      below.calls[1]?.fail(failure('deadline_exceeded'));
      for (const one of late) await expect(one).rejects.toMatchObject({ code: 'deadline_exceeded' });
      expect(below.calls).toHaveLength(2);
    });
  });

  it('is not shared by those who bear one name in two tenants', () => {
    const { below, handler } = bench();
    for (const tenant of ['acme', 'globex'])
      void handler(readOf('a:1', { principal: { id: 'admin', tenant, roles: [] } }));
    expect(below.calls).toHaveLength(2);
  });

  it('a listener for progress that throws keeps nobody else from hearing', () => {
    const { below, handler } = bench();
    const seen: number[] = [];
    const bad = (): void => {
      throw new Error('bad listener');
    };
    void handler(readOf('a:1', { onProgress: bad }));
    void handler(readOf('a:1', { onProgress: ({ progress }) => void seen.push(progress) }));
    expect(() => below.calls[0]?.request.onProgress?.({ progress: 1 })).toThrow('bad listener');
    expect(seen).toEqual([1]);
  });

  it('progress reaches all who asked for it', async () => {
    const { below, handler } = bench();
    const seen: string[] = [];
    const onProgress = (who: string) => (progress: Progress) => seen.push(`${who} ${progress.progress}`);
    void handler(readOf('a:1', { onProgress: onProgress('ann') }));
    void handler(readOf('a:1', { onProgress: onProgress('bob') }));
    // Without progress it is a call of its own: nobody asked that one for a token.
    void handler(readOf('a:1'));
    expect(below.calls).toHaveLength(2);
    below.calls[0]?.request.onProgress?.({ progress: 1 });
    expect(seen).toEqual(['ann 1', 'bob 1']);
    expect(below.calls[1]?.request.onProgress).toBeUndefined();
  });

  it('leaves no listener on the cancellations of its callers', async () => {
    const { below, handler } = bench();
    const shared = new Cancellation();
    for (let i = 0; i < 10; i++) {
      const outcome = handler(readOf('a:1', { cancellation: shared }));
      below.calls[i]?.reply({});
      await outcome;
    }
    // The slots of a cancellation are numbered from 0.
    expect(shared.listen(() => {})).toBe(0);
  });

  it('does not start for a caller who has already left', async () => {
    const { below, handler } = bench();
    const cancellation = new Cancellation();
    cancellation.cancel(failure('cancelled'));
    await expect(handler(readOf('a:1', { cancellation }))).rejects.toMatchObject({ code: 'cancelled' });
    expect(below.calls).toHaveLength(0);
    void handler(readOf('a:1'));
    expect(below.calls).toHaveLength(1);
  });
});
