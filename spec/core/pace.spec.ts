import { describe, expect, it } from '@jest/globals';
import { Pace } from '../../lib/core/pace.ts';

describe('pace', () => {
  it('is spent after its slice, and gives timers and sockets their turn', async () => {
    let now = 100;
    const pace = new Pace(() => now, 8);
    expect(pace.spent).toBe(false);
    now += 7;
    expect(pace.spent).toBe(false);
    now += 1;
    expect(pace.spent).toBe(true);
    let turned = false;
    setImmediate(() => {
      turned = true;
      now += 50;
    });
    await pace.nextTurn();
    expect(turned).toBe(true);
    expect(pace.spent).toBe(false);
  });
});
