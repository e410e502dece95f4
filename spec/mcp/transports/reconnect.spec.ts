import { describe, expect, it } from '@jest/globals';
import { ONE_A_SECOND, reconnectDelay } from '../../../lib/mcp/transports/reconnect.ts';

const delays = (retryMs: number | undefined, random = 0): number[] =>
  Array.from({ length: 12 }, (_, failures) => reconnectDelay(failures, retryMs, () => random));

describe('delay before the next reconnect', () => {
  it('is what the server asked for, three times, and then grows to a minute', () => {
    expect(delays(500)).toEqual([
      500, 500, 500, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
    ]);
  });

  it.each([
    [undefined, 1_000],
    [0, 100],
    [86_400_000, 60_000],
  ])('clamps retry %p to %p ms', (retryMs, expected) => {
    expect(reconnectDelay(1, retryMs, () => 0)).toBe(expected);
  });

  it('is a second on average or more after the third, whatever the server wants', () => {
    const late = delays(0, 0).slice(ONE_A_SECOND);
    expect(Math.min(...late)).toBeGreaterThanOrEqual(1_000);
  });

  it('spreads the later ones by up to a fifth', () => {
    expect(reconnectDelay(4, 0, () => 0.5)).toBe(1_100);
  });
});
