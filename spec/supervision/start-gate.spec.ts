import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import { createStartGate } from '../../lib/supervision/start-gate.ts';

describe('start gate', () => {
  it('lets in as many as it has places, the rest in the order they came', async () => {
    const gate = createStartGate(2);
    const entered: number[] = [];
    const leave: Array<() => void> = [];
    const enter = (n: number): void =>
      void gate.enter(new Cancellation()).then((left) => {
        entered.push(n);
        leave.push(left);
      });
    for (const n of [1, 2, 3, 4]) enter(n);
    await Promise.resolve().then(() => {});
    expect(entered).toEqual([1, 2]);
    leave[0]?.();
    leave[0]?.();
    await new Promise(setImmediate);
    expect(entered).toEqual([1, 2, 3]);
    leave[1]?.();
    await new Promise(setImmediate);
    expect(entered).toEqual([1, 2, 3, 4]);
  });

  it('lets in one in a turn of the event loop, however many leave at once', async () => {
    const gate = createStartGate(3);
    const inside: Array<() => void> = [];
    const enter = (): void => void gate.enter(new Cancellation()).then((left) => inside.push(left));
    for (let i = 0; i < 6; i += 1) enter();
    await new Promise(setImmediate);
    expect(inside).toHaveLength(3);
    for (const leave of inside.slice()) leave();
    const seen: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      await new Promise(setImmediate);
      seen.push(inside.length);
    }
    expect(seen).toEqual([4, 5, 6, 6]);
    for (const leave of inside.slice(3)) leave();
    for (let i = 0; i < 3; i += 1) enter();
    await Promise.resolve().then(() => {});
    expect(inside).toHaveLength(9);
  });

  it('forgets who gave up waiting', async () => {
    const gate = createStartGate(1);
    const leave = await gate.enter(new Cancellation());
    const gone = new Cancellation();
    const waiting = gate.enter(gone);
    gone.cancel(new TroupeError('stopped', 'no'));
    await expect(waiting).rejects.toMatchObject({ code: 'stopped' });
    leave();
    await expect(gate.enter(new Cancellation())).resolves.toBeDefined();
  });
});
