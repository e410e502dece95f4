import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Cancellation } from '../../lib/core/cancellation.ts';
import type { Response } from '../../lib/core/interceptor.ts';
import type { Request } from '../../lib/core/request.ts';
import { type BatchWindowOptions, batch, createBatchWindow } from '../../lib/resilience/batch.ts';
import { failure, readOf } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

describe('batch', () => {
  it('nothing asked is nothing sent', async () => {
    await expect(
      batch([], {
        groupOf: () => 'a',
        transmit: () => {
          throw new Error('not to be called');
        },
      }),
    ).resolves.toEqual([]);
  });

  it('one transmission per group, outcomes in the order asked, each its own', async () => {
    const sent: string[] = [];
    const outcomes = await batch(['a1', 'b1', 'a2', 'bad', 'b2'], {
      groupOf: (item) => item.charAt(0),
      transmit: (group, key) => {
        sent.push(`${key}: ${group.join(' ')}`);
        return group.map(async (item) => {
          if (item === 'bad') throw failure('not_found');
          // The later asked, the sooner answered.
          for (let i = 10; i > Number(item.at(-1)); i--) await Promise.resolve();
          return { item };
        });
      },
    });
    expect(sent).toEqual(['a: a1 a2', 'b: b1 bad b2']);
    expect(outcomes).toEqual([
      { ok: true, result: { item: 'a1' } },
      { ok: true, result: { item: 'b1' } },
      { ok: true, result: { item: 'a2' } },
      { ok: false, error: expect.objectContaining({ code: 'not_found' }) as unknown },
      { ok: true, result: { item: 'b2' } },
    ]);
  });

  it('a transmission that fails is the failure of its items only; one that loses an item is found out', async () => {
    const outcomes = await batch(['a', 'b', 'c', 'lost'], {
      groupOf: (item) => {
        if (item === 'c') throw failure('ambiguous_name');
        return item;
      },
      transmit: ([item]) => {
        if (item === 'a') throw failure('unavailable');
        return item === 'lost' ? [] : [Promise.resolve({ item })];
      },
    });
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.result : outcome.error.code))).toEqual([
      'unavailable',
      { item: 'b' },
      'ambiguous_name',
      'internal',
    ]);
  });

  it('order and number are kept whatever the groups', async () => {
    const property = fc.asyncProperty(
      fc.array(fc.record({ id: fc.integer(), group: fc.nat(5), ok: fc.boolean() })),
      async (items) => {
        let transmissions = 0;
        const outcomes = await batch(items, {
          groupOf: ({ group }) => `g${group}`,
          transmit: (group) => {
            transmissions++;
            return group.map(async ({ id, ok }) => {
              if (!ok) throw failure('denied', { data: id });
              return { id };
            });
          },
        });
        const expected = items.map(({ id, ok }) => (ok ? { id } : id));
        const got = outcomes.map((outcome) => (outcome.ok ? outcome.result : outcome.error.data));
        return (
          transmissions === new Set(items.map(({ group }) => group)).size &&
          JSON.stringify(got) === JSON.stringify(expected)
        );
      },
    );
    await expect(fc.assert(property)).resolves.toBeUndefined();
  });
});

function bench(options: Partial<BatchWindowOptions> = {}) {
  const clock = createVirtualClock();
  const sent: Array<[key: string, uris: unknown[], at: number]> = [];
  const window = createBatchWindow({
    clock,
    windowMs: 5,
    maxSize: 3,
    groupOf: (request) => request.server ?? '',
    transmit: (group, key) => {
      sent.push([key, group.map((request) => request.target), clock.now() - 1_000]);
      return group.map(async (request: Request): Promise<Response> => ({ uri: request.target }));
    },
    ...options,
  });
  return { clock, sent, window };
}

describe('batch window', () => {
  it('sends together what comes within the window, per group', async () => {
    const { clock, sent, window } = bench();
    const first = window.handler(readOf('a:1'));
    await clock.advance(4);
    const others = [window.handler(readOf('a:2')), window.handler(readOf('b:1', { server: 'beta' }))];
    expect(sent).toEqual([]);
    await clock.advance(1);
    expect(sent).toEqual([['alpha', ['a:1', 'a:2'], 5]]);
    await clock.advance(4);
    expect(sent[1]).toEqual(['beta', ['b:1'], 9]);
    await expect(Promise.all([first, ...others])).resolves.toEqual([
      { uri: 'a:1' },
      { uri: 'a:2' },
      { uri: 'b:1' },
    ]);
    void window.handler(readOf('a:3'));
    await clock.advance(5);
    expect(sent[2]).toEqual(['alpha', ['a:3'], 14]);
    expect(clock.armed).toBe(0);
  });

  it('a full group does not wait, and leaves no timer', async () => {
    const { clock, sent, window } = bench();
    for (let i = 0; i < 7; i++) void window.handler(readOf(`a:${i}`));
    expect(sent.map(([, uris]) => uris)).toEqual([
      ['a:0', 'a:1', 'a:2'],
      ['a:3', 'a:4', 'a:5'],
    ]);
    expect(clock.armed).toBe(1);
    await clock.advance(5);
    expect(sent[2]?.[1]).toEqual(['a:6']);
    expect(clock.armed).toBe(0);
  });

  it('a window of 0 takes what comes in the same turn', async () => {
    const { clock, sent, window } = bench({ windowMs: 0, maxSize: 100 });
    const outcomes = [1, 2, 3].map((i) => window.handler(readOf(`a:${i}`)));
    expect(sent).toEqual([]);
    await Promise.all(outcomes);
    expect(sent.map(([, uris]) => uris)).toEqual([['a:1', 'a:2', 'a:3']]);
    expect(clock.armed).toBe(0);
  });

  it('who has left is not sent', async () => {
    const { clock, sent, window } = bench();
    const cancellation = new Cancellation();
    const leaving = window.handler(readOf('a:1', { cancellation }));
    leaving.catch(() => {});
    void window.handler(readOf('a:2'));
    cancellation.cancel(failure('cancelled'));
    await clock.advance(5);
    await expect(leaving).rejects.toMatchObject({ code: 'cancelled' });
    expect(sent.map(([, uris]) => uris)).toEqual([['a:2']]);
  });

  it('failures stay where they belong, and the window goes on', async () => {
    let broken = true;
    const { clock, window } = bench({
      groupOf: (request) => {
        if (request.target === 'odd') throw failure('ambiguous_name');
        return 'g';
      },
      transmit: (group) => {
        if (broken) throw failure('unavailable');
        return group.slice(1).map(async () => ({}));
      },
    });
    await expect(window.handler(readOf('odd'))).rejects.toMatchObject({ code: 'ambiguous_name' });
    await expect(clock.settle(window.handler(readOf('a:1')))).rejects.toMatchObject({ code: 'unavailable' });
    broken = false;
    const pair = [window.handler(readOf('a:1')), window.handler(readOf('a:2'))];
    const settled = await clock.settle(Promise.allSettled(pair));
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('disposed: what waits and what comes is refused, no timer stays', async () => {
    const { clock, sent, window } = bench();
    const waiting = window.handler(readOf('a:1'));
    window.dispose();
    window.dispose();
    await expect(waiting).rejects.toMatchObject({ code: 'stopped', delivery: 'unsent' });
    await expect(window.handler(readOf('a:2'))).rejects.toMatchObject({ code: 'stopped' });
    await clock.advance(100);
    expect(sent).toEqual([]);
    expect(clock.armed).toBe(0);
  });
});
