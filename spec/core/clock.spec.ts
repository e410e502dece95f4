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

/** The host does something else for a while. */
function stall(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
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
    stall(250);
    setImmediate(() => order.push('input'));
    await fired;
    order.push('deadline');
    expect(order).toEqual(['input', 'deadline']);
  });

  it('lets input that lies ready count before a timer that the host slept through, and before what it takes back', async () => {
    const order: string[] = [];
    const clock = createClock();
    const first = clock.after(20, () => order.push('given up'));
    const second = new Promise<void>((resolve) => {
      clock.after(25, () => {
        order.push('timer');
        resolve();
      });
    });
    stall(250);
    setImmediate(() => {
      order.push('input');
      first();
    });
    await second;
    expect(order).toEqual(['input', 'timer']);
  });

  it('keeps the order of timers that the host slept through', async () => {
    const order: number[] = [];
    const clock = createClock();
    const last = new Promise<void>((resolve) => {
      clock.after(40, resolve);
    });
    for (const ms of [30, 10, 20]) clock.after(ms, () => order.push(ms));
    stall(250);
    await last;
    expect(order).toEqual([10, 20, 30]);
  });

  it.each([
    ['of the same moment', 20, 20],
    ['of a later one, after a stall', 20, 60],
  ])('does not fire what one that fires before it takes back: %s', async (_, first, second) => {
    const clock = createClock();
    const start = clock.now();
    const fired: string[] = [];
    const other: DeadlineEntry = { onDeadline: () => fired.push('other') };
    const again = new Promise<number>((resolve) => {
      const moved: DeadlineEntry = { onDeadline: () => resolve(clock.now()) };
      clock.deadline(start + first, {
        onDeadline() {
          fired.push('first');
          clock.cancelDeadline(other);
          clock.cancelDeadline(moved);
          clock.deadline(clock.now() + 50, moved);
        },
      });
      clock.deadline(start + second, other);
      clock.deadline(start + second, moved);
    });
    stall(250);
    const until = clock.now() + 50;
    expect(await again).toBeGreaterThanOrEqual(until);
    expect(fired).toEqual(['first']);
  });

  it('fires once what is armed again, when it was armed for last', async () => {
    const clock = createClock();
    const start = clock.now();
    let times = 0;
    const at = await new Promise<number>((resolve) => {
      const entry: DeadlineEntry = {
        onDeadline() {
          times += 1;
          resolve(clock.now());
        },
      };
      clock.deadline(start + 10, entry);
      clock.deadline(start + 20, { onDeadline: () => {} });
      clock.deadline(start + 80, entry);
    });
    expect(at).toBeGreaterThanOrEqual(start + 80);
    await armed(clock.now() + 30, clock).fired;
    expect(times).toBe(1);
  });

  it('fires what is armed for a time gone by, also by one that fires', async () => {
    const clock = createClock();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      clock.deadline(clock.now() + 20, {
        onDeadline() {
          order.push('first');
          clock.deadline(clock.now() - 500, {
            onDeadline() {
              order.push('late');
              resolve();
            },
          });
        },
      });
    });
    expect(order).toEqual(['first', 'late']);
  });

  it('fires the next one after all have been taken back, in the same moment and in a later one', async () => {
    const clock = createClock();
    for (const wait of [0, 30]) {
      const at = clock.now() + 40;
      for (let i = 0; i < 100; i += 1) {
        const entry: DeadlineEntry = { onDeadline: () => {} };
        clock.deadline(at, entry);
        clock.cancelDeadline(entry);
      }
      await new Promise<void>((resolve) => {
        clock.after(wait, resolve);
      });
      expect(await armed(at, clock).fired).toBeGreaterThanOrEqual(at);
    }
  });

  it('keeps the others of a tick, whoever leaves from the beginning, the middle or the end', async () => {
    const clock = createClock();
    // Half a tick before its end, so that all stand in one.
    const at = (Math.ceil((clock.now() + 30) / 10) - 0.5) * 10;
    const fired: number[] = [];
    const entries = Array.from({ length: 7 }, (_, i): DeadlineEntry => ({ onDeadline: () => fired.push(i) }));
    for (const entry of entries) clock.deadline(at, entry);
    for (const i of [0, 3, 6]) clock.cancelDeadline(entries[i] as DeadlineEntry);
    clock.deadline(at, entries[3] as DeadlineEntry);
    await armed(at + 30, clock).fired;
    expect(fired).toEqual([1, 2, 4, 5, 3]);
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
