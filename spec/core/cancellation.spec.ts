import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { Cancellation, watchSignal } from '../../lib/core/cancellation.ts';
import { TroupeError } from '../../lib/core/errors.ts';

const reason = new TroupeError('cancelled', 'enough');

describe('Cancellation', () => {
  it('tells every listener once, in order, and later ones at once', () => {
    const told: number[] = [];
    const c = new Cancellation();
    c.listen(() => told.push(1));
    c.listen(() => told.push(2));
    c.cancel(reason);
    c.cancel(new TroupeError('cancelled', 'again'));
    c.listen(() => told.push(3));
    expect(told).toEqual([1, 2, 3]);
    expect(c.reason).toBe(reason);
    expect(() => c.throwIfCancelled()).toThrow(reason);
  });

  it('takes no more room for many who come and go than for those who are there', () => {
    const c = new Cancellation();
    const slots = [1, 2, 3, 4].map(() => c.listen(() => {}));
    for (let i = 0; i < 1_000; i++) {
      c.ignore(slots.shift() as number);
      slots.push(c.listen(() => {}));
    }
    for (const slot of slots) c.ignore(slot);
    expect([1, 2, 3].map(() => c.listen(() => {}))).toEqual([0, 1, 2]);
  });

  it('tells those beyond the second in the order they came, whoever has left', () => {
    const told: string[] = [];
    const c = new Cancellation();
    const slots = new Map(['a', 'b', 'c', 'd', 'e'].map((who) => [who, c.listen(() => told.push(who))]));
    for (const who of ['c', 'd']) c.ignore(slots.get(who) as number);
    c.listen(() => told.push('f'));
    c.ignore(slots.get('e') as number);
    c.listen(() => told.push('g'));
    c.cancel(reason);
    expect(told).toEqual(['a', 'b', 'f', 'g']);
  });

  it('is cancelled at once by a signal that was aborted before', () => {
    const c = new Cancellation();
    watchSignal(AbortSignal.abort(), c)();
    expect(c.reason).toMatchObject({ code: 'cancelled' });
  });

  it('forgets a listener by its slot, whatever the order', () => {
    const told: string[] = [];
    const c = new Cancellation();
    const a = c.listen(() => told.push('a'));
    const b = c.listen(() => told.push('b'));
    c.listen(() => told.push('c'));
    c.ignore(a);
    c.ignore(b);
    c.ignore(b);
    c.cancel(reason);
    expect(told).toEqual(['c']);
  });

  it('lets a child end alone, and ends it with its parent', () => {
    const parent = new Cancellation();
    const early = parent.child();
    const late = parent.child();
    early.cancel(reason);
    expect(parent.cancelled).toBe(false);
    parent.cancel(reason);
    expect(late.cancelled).toBe(true);
  });

  it('does not keep released children', () => {
    const parent = new Cancellation();
    const child = parent.child();
    child.release();
    parent.cancel(reason);
    expect(child.cancelled).toBe(false);
  });

  it('rejects a wait, and only while it lasts', async () => {
    const c = new Cancellation();
    const ended = c.waiting();
    ended.done();
    const open = c.waiting();
    c.cancel(reason);
    await expect(open.promise).rejects.toBe(reason);
  });
});

describe('watchSignal', () => {
  it('puts one listener on a signal, however many requests share it, and takes it away with the last', () => {
    const controller = new AbortController();
    const ends = Array.from({ length: 200 }, () => watchSignal(controller.signal, new Cancellation()));
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    for (const end of ends) end();
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('cancels all that still watch', () => {
    const controller = new AbortController();
    const kept = new Cancellation();
    const ended = new Cancellation();
    watchSignal(controller.signal, kept);
    watchSignal(controller.signal, ended)();
    controller.abort('user');
    expect(kept.reason).toMatchObject({ code: 'cancelled', cause: 'user' });
    expect(ended.cancelled).toBe(false);
  });
});
