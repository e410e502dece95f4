import { describe, expect, it } from '@jest/globals';
import { bounded } from '../../../lib/mcp/authorization/bounded.ts';
import { createVirtualClock } from '../../support/virtual-clock.ts';

const limits = (clock = createVirtualClock()) => ({ clock, ms: 100, server: 'alpha', what: 'the login' });

describe('bounded work', () => {
  it('gives what came in time and leaves no timer', async () => {
    const clock = createVirtualClock();
    await expect(bounded(() => 'x', limits(clock))).resolves.toBe('x');
    await expect(bounded(() => Promise.reject(new Error('no')), limits(clock))).rejects.toThrow('no');
    await expect(
      bounded(() => {
        throw new Error('at once');
      }, limits(clock)),
    ).rejects.toThrow('at once');
    expect(clock.armed).toBe(0);
  });

  it('is unavailable when it is late, and its requests are aborted', async () => {
    const clock = createVirtualClock();
    let aborted = false;
    const late = bounded((signal) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return new Promise<void>(() => {});
    }, limits(clock));
    const error = late.catch((cause: unknown) => cause);
    await clock.advance(100);
    expect(await error).toMatchObject({
      code: 'unavailable',
      server: 'alpha',
      message: expect.stringMatching(/the login.*100 ms/),
      data: { limitMs: 100 },
    });
    expect([aborted, clock.armed]).toEqual([true, 0]);
  });
});
