import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import type { Availability } from '../../lib/core/availability.ts';
import { seededRandom } from '../../lib/core/ports.ts';
import { createPool, type ReplicaPool } from '../../lib/routing/pool.ts';
import { createRoute } from '../../lib/routing/route.ts';
import { leastOutstanding } from '../../lib/routing/strategies/least-outstanding.ts';
import { failure, requestOf, scriptedHandler } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

function poolOf(availability: Availability, server = 'alpha') {
  const candidate = { id: server, availability, handle: scriptedHandler({ from: server }) };
  const clock = createVirtualClock();
  const pool = createPool({
    server,
    candidates: [candidate],
    strategy: leastOutstanding(),
    clock,
    random: seededRandom(1),
  });
  return { pool, candidate };
}

describe('route', () => {
  it('goes to the pool of the server', async () => {
    const pools: Record<string, ReplicaPool> = {
      alpha: poolOf('usable').pool,
      beta: poolOf('usable', 'beta').pool,
    };
    const route = createRoute({ pool: (server) => pools[server] });
    expect(await route(requestOf({ server: 'beta' }))).toEqual({ from: 'beta' });
    await expect(route(requestOf({ server: 'gamma' }))).rejects.toMatchObject({
      code: 'not_found',
      server: 'gamma',
    });
    await expect(route(requestOf({ server: undefined }))).rejects.toMatchObject({ code: 'internal' });
  });

  it('waits for a server that is being started, then asks once', async () => {
    const { pool, candidate } = poolOf('impossible');
    const asked: string[] = [];
    const route = createRoute({
      pool: () => pool,
      awaitReady: async (server) => {
        asked.push(server);
        await Promise.resolve();
        candidate.availability = 'usable';
      },
    });
    expect(await route(requestOf())).toEqual({ from: 'alpha' });
    expect(await route(requestOf())).toEqual({ from: 'alpha' });
    expect(asked).toEqual(['alpha']);
    candidate.availability = 'impossible';
    const hopeless = createRoute({ pool: () => pool, awaitReady: () => undefined });
    await expect(hopeless(requestOf())).rejects.toMatchObject({ code: 'unavailable' });
    const vain = createRoute({ pool: () => pool, awaitReady: async () => {} });
    await expect(vain(requestOf())).rejects.toMatchObject({ code: 'unavailable', delivery: 'unsent' });
    const failing = createRoute({
      pool: () => pool,
      awaitReady: () => Promise.reject(failure('auth_required')),
    });
    await expect(failing(requestOf())).rejects.toMatchObject({ code: 'auth_required' });
  });

  it('ends that wait with the cancellation', async () => {
    const { pool, candidate } = poolOf('impossible');
    const route = createRoute({ pool: () => pool, awaitReady: () => new Promise(() => {}) });
    const cancellation = new Cancellation();
    const answer = route(requestOf({ cancellation }));
    cancellation.cancel(failure('deadline_exceeded'));
    await expect(answer).rejects.toMatchObject({ code: 'deadline_exceeded' });
    await expect(route(requestOf({ cancellation }))).rejects.toMatchObject({ code: 'deadline_exceeded' });
    expect(candidate.handle.requests).toHaveLength(0);
  });

  it('finds the pool anew after the wait', async () => {
    const pools = [poolOf('impossible').pool, poolOf('usable').pool];
    let at = 0;
    const route = createRoute({ pool: () => pools[at], awaitReady: async () => void (at = 1) });
    expect(await route(requestOf())).toEqual({ from: 'alpha' });
    at = 0;
    const gone = createRoute({ pool: () => pools[at], awaitReady: async () => void (at = 9) });
    await expect(gone(requestOf())).rejects.toMatchObject({ code: 'not_found' });
  });
});
