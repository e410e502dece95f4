import { describe, expect, it } from '@jest/globals';
import { createSlices } from '../../lib/engine/slices.ts';

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('slices', () => {
  it('does what is little at once', () => {
    const done: number[] = [];
    const slices = createSlices(() => 0);
    for (let i = 0; i < 100; i += 1) void slices.run(() => done.push(i));
    expect(done).toHaveLength(100);
  });

  it('does what is much a slice in a turn, in order, and misses nothing that comes in between', async () => {
    let time = 0;
    const slices = createSlices(() => time, 10);
    const done: number[] = [];
    const work = (i: number) => (): void => {
      time += 4;
      done.push(i);
    };
    const all = Array.from({ length: 7 }, (_, i) => slices.run(work(i)));
    // 4, 8, 12 milliseconds.
    expect(done).toEqual([0, 1, 2]);
    await nextTurn();
    all.push(slices.run(work(7)));
    expect(done).toEqual([0, 1, 2, 3, 4, 5]);
    await Promise.all(all);
    expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    // Later there is a slice again.
    await nextTurn();
    await nextTurn();
    void slices.run(work(8));
    expect(done.at(-1)).toBe(8);
  });

  it('rejects with what the work throws, and goes on', async () => {
    let time = 0;
    const slices = createSlices(() => (time += 6), 10);
    const fails = (): void => {
      throw new RangeError('no');
    };
    const outcomes = await Promise.allSettled([slices.run(fails), slices.run(fails), slices.run(() => {})]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });

  it('takes work that brings work', async () => {
    let time = 0;
    const slices = createSlices(() => time, 10);
    const done: string[] = [];
    await slices.run(() => {
      time += 20;
      void slices.run(() => done.push('inner'));
      done.push('outer');
    });
    await slices.run(() => done.push('last'));
    expect(done).toEqual(['outer', 'inner', 'last']);
  });
});
