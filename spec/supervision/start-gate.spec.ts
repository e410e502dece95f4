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
