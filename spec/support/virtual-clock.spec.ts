import { describe, expect, it } from '@jest/globals';
import { createVirtualClock } from './virtual-clock.ts';

describe('virtual clock', () => {
  it('fires timers and deadlines in order of time, then of arming', async () => {
    const clock = createVirtualClock(0);
    const log: string[] = [];
    clock.after(20, () => log.push(`b@${clock.now()}`));
    clock.deadline(20, { onDeadline: () => log.push(`c@${clock.now()}`) });
    clock.after(10, () => log.push(`a@${clock.now()}`));
    await clock.advance(15);
    expect(log).toEqual(['a@10']);
    expect(clock.now()).toBe(15);
    await clock.advance(5);
    expect(log).toEqual(['a@10', 'b@20', 'c@20']);
    expect(clock.armed).toBe(0);
  });

  it('lets promises settle between two timers, so that one may arm the next', async () => {
    const clock = createVirtualClock(0);
    const times: number[] = [];
    const wait = (ms: number): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve));
    void (async () => {
      for (let i = 0; i < 3; i++) {
        await wait(10);
        times.push(clock.now());
      }
    })();
    await clock.advance(30);
    expect(times).toEqual([10, 20, 30]);
  });

  it('does not fire what was disarmed', async () => {
    const clock = createVirtualClock();
    const fired: string[] = [];
    const disarm = clock.after(5, () => fired.push('timer'));
    const entry = { onDeadline: () => void fired.push('deadline') };
    clock.deadline(clock.now() + 5, entry);
    disarm();
    clock.cancelDeadline(entry);
    await clock.advance(10);
    expect(fired).toEqual([]);
  });

  it('settles a promise by moving time, and names a hang', async () => {
    const clock = createVirtualClock();
    await expect(
      clock.settle(new Promise((resolve) => void clock.after(500, () => resolve('late')))),
    ).resolves.toBe('late');
    await expect(clock.settle(new Promise(() => {}))).rejects.toThrow('would hang');
  });
});
