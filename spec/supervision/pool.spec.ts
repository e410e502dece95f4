import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import { ConnectionPool, type Pooled } from '../../lib/supervision/pool.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

function setting(maxConnections: number, idleMs = Infinity) {
  const clock = createVirtualClock();
  const evicted: string[] = [];
  const pool = new ConnectionPool({ clock, maxConnections, idleMs, onEvicted: ({ id }) => evicted.push(id) });
  const busy = new Set<string>();
  const pooled = (id: string): Pooled => ({
    id,
    server: id,
    get evictable() {
      return !busy.has(id);
    },
    evict: async () => {
      await Promise.resolve();
      pool.leave(id);
    },
  });
  return { clock, pool, evicted, busy, pooled };
}

describe('ConnectionPool', () => {
  it('costs nothing where nothing is bounded', () => {
    expect(setting(Infinity).pool.bounded).toBe(false);
    expect(setting(3).pool.bounded).toBe(true);
  });

  it('gives places while there are some, twice to nobody', () => {
    const { pool, pooled } = setting(2);
    expect(pool.tryEnter(pooled('a'))).toBe(true);
    expect(pool.tryEnter(pooled('a'))).toBe(true);
    expect(pool.tryEnter(pooled('b'))).toBe(true);
    expect(pool.tryEnter(pooled('c'))).toBe(false);
    expect(pool.size).toBe(2);
  });

  it('makes room by the one used longest ago', async () => {
    const { pool, pooled, evicted } = setting(2);
    pool.tryEnter(pooled('a'));
    pool.tryEnter(pooled('b'));
    pool.touch('a');
    await pool.enter(pooled('c'), new Cancellation());
    expect(evicted).toEqual(['b']);
    expect(pool.size).toBe(2);
  });

  it('never closes what may not be closed, and lets who waits in once it may', async () => {
    const { pool, pooled, evicted, busy } = setting(1);
    pool.tryEnter(pooled('a'));
    busy.add('a');
    let entered = false;
    const waiting = pool.enter(pooled('b'), new Cancellation()).then(() => (entered = true));
    pool.poke();
    await new Promise(setImmediate);
    expect([entered, evicted]).toEqual([false, []]);
    busy.delete('a');
    pool.poke();
    await waiting;
    expect(evicted).toEqual(['a']);
  });

  it('serves in the order of arrival', async () => {
    const { pool, pooled } = setting(1);
    const order: string[] = [];
    pool.tryEnter(pooled('a'));
    const b = pool.enter(pooled('b'), new Cancellation()).then(() => order.push('b'));
    const c = pool.enter(pooled('c'), new Cancellation()).then(() => order.push('c'));
    await Promise.all([b, c]);
    expect(order).toEqual(['b', 'c']);
  });

  it('says queue_full when the time is over, the reason itself when the caller gave up, and remembers neither', async () => {
    const { pool, pooled, busy } = setting(1);
    pool.tryEnter(pooled('a'));
    busy.add('a');
    const late = new Cancellation();
    const given = new Cancellation();
    const first = pool.enter(pooled('b'), late);
    const second = pool.enter(pooled('c'), given);
    late.cancel(new TroupeError('deadline_exceeded', 'late'));
    given.cancel(new TroupeError('cancelled', 'enough'));
    await expect(first).rejects.toMatchObject({ code: 'queue_full', server: 'b' });
    await expect(second).rejects.toMatchObject({ code: 'cancelled' });
    expect(pool.refusal(late.reason)?.code).toBe('queue_full');
    expect(pool.waiting).toBe(0);
  });

  it('closes what nobody has used for a while', async () => {
    const { pool, pooled, evicted, clock, busy } = setting(Infinity, 1_000);
    pool.tryEnter(pooled('used'));
    pool.tryEnter(pooled('idle'));
    pool.tryEnter(pooled('busy'));
    busy.add('busy');
    await clock.advance(600);
    pool.touch('used');
    await clock.advance(600);
    expect(evicted).toEqual(['idle']);
    await clock.advance(1_000);
    expect(evicted).toEqual(['idle', 'used']);
    pool.dispose();
    expect(clock.armed).toBe(0);
  });
});
