import { describe, expect, it } from '@jest/globals';
import { createClock, type DeadlineEntry } from '../../lib/core/clock.ts';

/** Resolves when the deadline has fired. */
function armed(
  at: number,
  clock = createClock(),
): { entry: DeadlineEntry; fired: Promise<number>; clock: typeof clock } {
  let tell: (at: number) => void = () => {};
  const fired = new Promise<number>((resolve) => {
    tell = resolve;
  });
  const entry: DeadlineEntry = { onDeadline: () => tell(clock.now()) };
  clock.deadline(at, entry);
  return { entry, fired, clock };
}

describe('createClock', () => {
  it('fires deadlines in the order of time, never early, and not those taken back', async () => {
    const clock = createClock();
    const start = clock.now();
    const order: string[] = [];
    const taken: DeadlineEntry = { onDeadline: () => order.push('taken back') };
    clock.deadline(start + 20, taken);
    const last = armed(start + 60, clock);
    const first = armed(start + 5, clock);
    void first.fired.then(() => order.push('first'));
    void last.fired.then(() => order.push('last'));
    clock.cancelDeadline(taken);
    clock.cancelDeadline(taken);
    expect(await last.fired).toBeGreaterThanOrEqual(start + 60);
    expect(order).toEqual(['first', 'last']);
  });

  it('lets input that lies ready count before a deadline that the host slept through', async () => {
    const order: string[] = [];
    const clock = createClock();
    const { fired } = armed(clock.now() + 20, clock);
    const until = performance.now() + 250;
    while (performance.now() < until);
    setImmediate(() => order.push('input'));
    await fired;
    order.push('deadline');
    expect(order).toEqual(['input', 'deadline']);
  });

  it('ends a timer that is no longer wanted', async () => {
    const clock = createClock();
    let fired = false;
    clock.after(5, () => (fired = true))();
    await new Promise<void>((resolve) => {
      clock.after(15, resolve);
    });
    expect(fired).toBe(false);
  });
});
