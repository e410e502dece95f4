import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import type { Request } from '../../lib/core/request.ts';
import { WaitingLine } from '../../lib/routing/waiting-line.ts';
import { failure, requestOf } from '../support/requests.ts';

/** A line in front of `free` slots; `asked` is who was looked at. */
function lineOf(alike: (request: Request) => boolean = () => true) {
  const state = { free: 0, asked: [] as number[] };
  const line = new WaitingLine({
    clock: { now: () => 1_000 },
    serviceMs: () => 10,
    alike,
    attempt: (request) => {
      state.asked.push(request.seq);
      if (state.free === 0) return undefined;
      state.free--;
      return Promise.resolve({ seq: request.seq });
    },
  });
  return { line, state };
}

describe('waiting line', () => {
  it('lets go as many as there is room for, in order, and asks no more than it must', async () => {
    const { line, state } = lineOf();
    const requests = [1, 2, 3, 4, 5].map(() => requestOf());
    const answers = requests.map((request) => line.join(request, (reason) => reason));
    state.free = 2;
    line.advance();
    expect(await Promise.all(answers.slice(0, 2))).toEqual(requests.slice(0, 2).map(({ seq }) => ({ seq })));
    // The third had to wait, so the others like it were not even asked.
    expect(state.asked).toEqual(requests.slice(0, 3).map(({ seq }) => seq));
    expect(line.length).toBe(3);
    state.free = 9;
    line.advance();
    await Promise.all(answers);
    expect(line.length).toBe(0);
  });

  it('asks everybody where one may go though another must wait', () => {
    const { line, state } = lineOf(() => false);
    for (let k = 0; k < 4; k++) line.join(requestOf(), (reason) => reason).catch(() => {});
    line.advance();
    expect(state.asked).toHaveLength(4);
    line.rejectAll(failure('stopped'));
  });

  it('costs nothing for those who left: a cancelled crowd is forgotten', async () => {
    const { line, state } = lineOf();
    const last = line.join(requestOf(), (reason) => reason);
    for (let k = 0; k < 1_000; k++) {
      const cancellation = new Cancellation();
      line.join(requestOf({ cancellation }), (reason) => reason).catch(() => {});
      cancellation.cancel(failure('cancelled'));
    }
    expect(line.length).toBe(1);
    state.free = 5;
    line.advance();
    await last;
    expect(state.asked).toHaveLength(1);
  });

  it('rejects who waits in vain, and goes on with the next', async () => {
    const bad = requestOf();
    const line = new WaitingLine({
      clock: { now: () => 1_000 },
      serviceMs: () => 10,
      alike: () => true,
      attempt: (request) => {
        if (request === bad) throw failure('unavailable');
        return Promise.resolve({});
      },
    });
    const answers = [bad, requestOf()].map((request) => line.join(request, (reason) => reason));
    line.advance();
    expect((await Promise.allSettled(answers)).map((a) => a.status)).toEqual(['rejected', 'fulfilled']);
  });

  describe('when more waits than can be served in time', () => {
    /** Requests 1 … n with these deadlines, at 1 000 ms, where one takes 10 ms. */
    function waiting(...deadlines: number[]) {
      const { line, state } = lineOf();
      const requests = deadlines.map((deadline) => requestOf({ deadline, cancellation: new Cancellation() }));
      const order: number[] = [];
      requests.forEach((request, i) => {
        line
          .join(request, (reason) => reason)
          .then(
            () => order.push(i + 1),
            () => order.push(-(i + 1)),
          );
      });
      const go = async (free: number): Promise<number[]> => {
        state.free = free;
        line.advance();
        await Promise.resolve();
        await Promise.resolve();
        return order;
      };
      return { line, requests, go };
    }

    it('serves last who has less time left than a request takes', async () => {
      const { go } = waiting(1_009, 2_000, 1_005, 2_000);
      expect(await go(2)).toEqual([2, 4]);
      expect(await go(1)).toEqual([2, 4, 3]);
      expect(await go(1)).toEqual([2, 4, 3, 1]);
    });

    it('serves the newest first once somebody has waited in vain, until the line is empty', async () => {
      const { line, requests, go } = waiting(2_000, 2_000, 2_000, 2_000);
      requests[0]?.cancellation.cancel(failure('deadline_exceeded'));
      expect(await go(2)).toEqual([-1, 4, 3]);
      expect(await go(1)).toEqual([-1, 4, 3, 2]);
      expect(line.length).toBe(0);
      const again = [5, 6].map(() => requestOf({ deadline: 2_000 }));
      const answers = again.map((request) => line.join(request, (reason) => reason));
      await go(1);
      expect(await answers[0]).toEqual({ seq: again[0]?.seq });
      line.rejectAll(failure('stopped'));
      await expect(answers[1]).rejects.toMatchObject({ code: 'stopped' });
    });

    it('makes room by sending away the oldest that has no chance, and nobody who has one', async () => {
      const { line, go } = waiting(2_000, 1_009, 1_005, 2_000);
      expect(line.shed(() => failure('queue_full'))).toBe(true);
      expect(await go(0)).toEqual([-2]);
      expect(line.shed(() => failure('queue_full'))).toBe(true);
      expect(line.shed(() => failure('queue_full'))).toBe(false);
      expect(line.length).toBe(2);
      expect(await go(2)).toEqual([-2, -3, 4, 1]);
    });
  });
});
