import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { backoff } from '../../lib/connection/backoff.ts';
import { TroupeError, type ErrorCode } from '../../lib/core/errors.ts';
import { seededRandom } from '../../lib/core/ports.ts';
import {
  NO_HISTORY,
  noteConnected,
  restartPolicy,
  type RestartHistory,
} from '../../lib/supervision/restart-policy.ts';

const options = { baseMs: 500, factor: 1.6, capMs: 30_000, jitter: 0, intensity: 5, periodMs: 60_000 };
const lost = new TroupeError('connection_lost', 'gone');
const half = (): number => 0.5;

/** Judges failures at the given times and returns the delays. */
function delays(times: readonly number[], error = lost): Array<number | undefined> {
  let history: RestartHistory = NO_HISTORY;
  return times.map((now) => {
    const judged = restartPolicy(error, history, now, options, half);
    history = judged.history;
    return judged.verdict.delayMs;
  });
}

describe('backoff', () => {
  it('grows by the factor up to the cap', () => {
    expect([1, 2, 3, 4, 20].map((n) => backoff(n, options, half))).toEqual([500, 800, 1280, 2048, 30_000]);
  });

  it('stays within its jitter', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer(), (restart, seed) => {
        const plain = Math.min(options.capMs, options.baseMs * options.factor ** (restart - 1));
        const delay = backoff(restart, { ...options, jitter: 0.2 }, seededRandom(seed));
        expect(delay).toBeGreaterThanOrEqual(Math.floor(plain * 0.8));
        expect(delay).toBeLessThanOrEqual(Math.ceil(plain * 1.2));
      }),
    );
  });
});

describe('restartPolicy', () => {
  it('backs off while failures follow each other', () => {
    expect(delays([0, 1000, 3000])).toEqual([500, 800, 1280]);
  });

  it('parks after more failures than the intensity allows, and tries on at the slowest pace', () => {
    const seen = delays([0, 1, 2, 3, 4, 5, 6]);
    expect(seen.slice(0, 5).every((d) => d !== undefined && d < 30_000)).toBe(true);
    expect(seen.slice(5)).toEqual([30_000, 30_000]);
  });

  it('parks at the slowest pace also where the delay does not grow', () => {
    let history = NO_HISTORY;
    const seen = [0, 1, 2, 3, 4, 5].map((now) => {
      const judged = restartPolicy(lost, history, now, { ...options, factor: 1 }, half);
      history = judged.history;
      return judged.verdict.delayMs;
    });
    expect(seen).toEqual([500, 500, 500, 500, 500, 30_000]);
  });

  it('leaves the park when failures have become rare', () => {
    expect(delays([0, 1, 2, 3, 4, 5, 70_000]).at(-1)).toBeLessThan(30_000);
  });

  it('begins anew after a session that stood for the whole period', () => {
    let history = NO_HISTORY;
    for (const now of [0, 1000, 2000]) history = restartPolicy(lost, history, now, options, half).history;
    const shaky = restartPolicy(lost, noteConnected(history, 3000), 4000, options, half);
    const stable = restartPolicy(lost, noteConnected(history, 3000), 63_000, options, half);
    expect(shaky.verdict.delayMs).toBe(2048);
    expect(stable.verdict.delayMs).toBe(500);
  });

  it.each<ErrorCode>(['config_invalid', 'unsupported', 'stopped'])(
    'does not try again by itself after %s',
    (code) => {
      expect(delays([0], new TroupeError(code, 'x'))).toEqual([undefined]);
    },
  );

  it('waits as long as the server asks', () => {
    expect(delays([0], new TroupeError('rate_limited', 'x', { retryAfterMs: 9000 }))).toEqual([9000]);
  });
});
