import { describe, expect, it } from '@jest/globals';
import { createClock, type DeadlineEntry } from '../../lib/core/clock.ts';

function entry(fired: string[], name: string): DeadlineEntry {
  return { onDeadline: () => fired.push(name) };
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

describe('createClock', () => {
  it('fires deadlines in the order of time, never early, and not those taken back', async () => {
    const clock = createClock();
    const fired: string[] = [];
    const start = clock.now();
    let firedAt = 0;
    const taken = entry(fired, 'taken back');
    clock.deadline(start + 60, { onDeadline: () => (firedAt = clock.now()) });
    clock.deadline(start + 30, entry(fired, 'second'));
    clock.deadline(start + 5, entry(fired, 'first'));
    clock.deadline(start + 20, taken);
    clock.cancelDeadline(taken);
    clock.cancelDeadline(taken);
    await pause(150);
    expect(fired).toEqual(['first', 'second']);
    expect(firedAt).toBeGreaterThanOrEqual(start + 60);
  });

  it('lets input that lies ready count before a deadline that the host slept through', async () => {
    const clock = createClock();
    const order: string[] = [];
    clock.deadline(clock.now() + 20, entry(order, 'deadline'));
    const until = performance.now() + 250;
    while (performance.now() < until);
    setImmediate(() => order.push('input'));
    await pause(100);
    expect(order).toEqual(['input', 'deadline']);
  });
});
