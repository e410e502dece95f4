import { describe, expect, it } from '@jest/globals';
import type { Request } from '../../lib/core/request.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import { type AffineReplica, Affinity, type AffinityOptions } from '../../lib/routing/affinity.ts';
import { requestOf } from '../support/requests.ts';
import { counted, times } from './bench.ts';

type Replica = { -readonly [K in keyof AffineReplica]: AffineReplica[K] };

const replicasOf = (...ids: string[]): Replica[] =>
  ids.map((id) => ({ id, availability: 'usable', epoch: 1 }));
const call = (args: Record<string, unknown>, change = {}) =>
  requestOf({ params: { name: 'put', arguments: args }, ...change });

/** What the pool does: a placement to be pinned is pinned to what is picked, here by the hash. Returns who it is. */
function placeAt(affinity: Affinity, request: Request, replicas: readonly Replica[], now = 0): string {
  const placement = affinity.place(request, replicas, now)!;
  if (placement.only !== undefined) return replicas[placement.only]!.id;
  const usable = replicas.filter((r) => r.availability === 'usable');
  const picked = usable[placement.key % usable.length]!;
  if (placement.pin) affinity.pin(placement, picked);
  return picked.id;
}

function lossOf(run: () => unknown): TroupeError {
  try {
    run();
  } catch (error) {
    return error as TroupeError;
  }
  throw new Error('nothing was lost');
}

describe('affinity', () => {
  const principal = { id: 'ann', tenant: 'acme' };
  it.each<[AffinityOptions['by'], Partial<AffinityOptions>, object, string | undefined]>([
    ['tool', {}, { params: { name: 'search' } }, 'search'],
    ['tool', {}, { params: undefined }, undefined],
    ['resource', {}, { params: { uri: 'file:///a' } }, 'file:///a'],
    ['resource', {}, { params: { name: 'search' } }, undefined],
    ['tenant', {}, { principal }, 'acme'],
    ['tenant', {}, { principal: { id: 'ann' } }, 'ann'],
    ['tenant', {}, {}, undefined],
    ['session', {}, { affinity: 'chat 7', principal }, 'chat 7'],
    ['session', {}, { principal }, 'ann'],
    ['session', {}, {}, ''],
    ['key', { argument: '/user/id' }, { params: { arguments: { user: { id: 7 } } } }, '7'],
    ['key', { argument: '/user/id' }, { params: { arguments: { user: 7 } } }, undefined],
    ['handle', { argument: '/h' }, { params: { arguments: { h: 'x1' } }, affinity: 'chat' }, 'x1'],
    ['handle', { argument: '/h' }, { affinity: 'chat' }, 'chat'],
    [(request) => request.method, {}, {}, 'tools/call'],
    ['tool', {}, { affinity: 'mine' }, 'mine'],
  ])('by %s %j: the key of %j is %s', (by, options, change, key) => {
    expect(new Affinity('s', { by, ...options }).keyOf(requestOf(change))).toBe(key);
  });

  it.each([
    [{ by: 'handle' }, 'affinity.argument'],
    [{ by: 'key' }, 'affinity.argument'],
    [{ by: 'key', argument: 'id' }, 'affinity.argument'],
    [{ by: 'handle', argument: '/id', result: 'id' }, 'affinity.result'],
    [{ by: 'tool', maxKeys: 0 }, 'affinity.maxKeys'],
  ])('refuses %j', (options, field) => {
    const error = lossOf(() => new Affinity('s', options as AffinityOptions));
    expect(error).toMatchObject({ code: 'config_invalid', data: { field } });
  });

  it('prefer: tells the key and leaves the choice', () => {
    const affinity = new Affinity('s', { by: 'tool' });
    const placement = affinity.place(call({}), replicasOf('a', 'b'), 0);
    expect(placement).toMatchObject({ text: 'put', only: undefined, pin: false });
    expect(affinity.size).toBe(0);
  });

  it('strict: a key keeps its replica when others join', () => {
    const affinity = new Affinity('s', { by: 'tenant', mode: 'strict' });
    const requests = times(60, (i) => call({}, { principal: { id: `tenant ${i}` } }));
    const few = replicasOf('a', 'b', 'c');
    const before = requests.map((r) => placeAt(affinity, r, few));
    const more = replicasOf('z', 'y', 'c', 'b', 'a');
    expect(requests.map((r) => placeAt(affinity, r, more))).toEqual(before);
    // And they were spread.
    expect(Object.keys(counted(before))).toHaveLength(3);
  });

  it('the caller’s own key keeps its replica while it lives, then another takes over', () => {
    const affinity = new Affinity('s');
    const request = requestOf({ affinity: 'chat 7' });
    const replicas = replicasOf('a', 'b', 'c');
    const first = placeAt(affinity, request, replicas);
    expect(placeAt(affinity, request, [...replicas, ...replicasOf('d', 'e')])).toBe(first);
    const lost = replicas.find((r) => r.id === first)!;
    lost.availability = 'impossible';
    const second = placeAt(affinity, request, replicas);
    expect(second).not.toBe(first);
    // No way back: what it knows now is there.
    lost.availability = 'usable';
    expect(placeAt(affinity, request, replicas)).toBe(second);
    expect(affinity.place(requestOf(), replicas, 4)).toBeUndefined();
  });

  describe('loss', () => {
    const strict = (onLoss?: AffinityOptions['onLoss']) =>
      new Affinity('mem', { by: 'session', ...(onLoss === undefined ? {} : { onLoss }) });

    it('is told to every request that had begun, once and for all, and not to later ones', () => {
      const affinity = strict();
      const request = requestOf({ affinity: 'chat', startedAt: 100 });
      const also = requestOf({ affinity: 'chat', startedAt: 150 });
      const replicas = replicasOf('a', 'b');
      const id = placeAt(affinity, request, replicas, 120);
      replicas.splice(
        replicas.findIndex((r) => r.id === id),
        1,
      );
      const error = lossOf(() => affinity.place(request, replicas, 200));
      expect(error).toMatchObject({
        code: 'affinity_lost',
        server: 'mem',
        connection: id,
        delivery: 'unsent',
      });
      expect(error.message).toContain('affinity.onLoss');
      expect(lossOf(() => affinity.place(also, replicas, 201)).code).toBe('affinity_lost');
      const later = requestOf({ affinity: 'chat', startedAt: 300 });
      expect(placeAt(affinity, later, replicas, 301)).toBe(replicas[0]!.id);
      // It is pinned there now.
      expect(affinity.place(later, replicas, 302)!.only).toBe(0);
    });

    it('is a new session of the same replica, too', () => {
      const affinity = strict();
      const replicas = replicasOf('a');
      placeAt(affinity, requestOf({ affinity: 'chat' }), replicas);
      replicas[0]!.epoch = 2;
      expect(lossOf(() => affinity.place(requestOf({ affinity: 'chat' }), replicas, 5)).code).toBe(
        'affinity_lost',
      );
    });

    it('is none where the server keeps its state over a reconnect', () => {
      const affinity = strict();
      const replicas: Replica[] = [
        { id: 'a', availability: 'usable' },
        { id: 'b', availability: 'usable' },
      ];
      const id = placeAt(affinity, requestOf({ affinity: 'chat' }), replicas);
      replicas.find((r) => r.id === id)!.availability = 'impossible';
      // Unavailable, says the picker then; the key stays.
      expect(placeAt(affinity, requestOf({ affinity: 'chat' }), replicas)).toBe(id);
    });

    it.each(['rehash', 'reinit'] as const)('%s: goes on elsewhere', (onLoss) => {
      const affinity = strict(onLoss);
      const replicas = replicasOf('a', 'b');
      const request = requestOf({ affinity: 'chat' });
      const first = placeAt(affinity, request, replicas);
      replicas.find((r) => r.id === first)!.availability = 'impossible';
      const next = affinity.place(request, replicas, 5)!;
      expect(next).toMatchObject({
        only: undefined,
        pin: true,
        from: onLoss === 'reinit' ? first : undefined,
      });
      expect(placeAt(affinity, request, replicas)).not.toBe(first);
      expect(affinity.place(request, replicas, 6)).toMatchObject({ pin: false, from: undefined });
    });

    it('reinit: a move that failed is to be made again', () => {
      const affinity = strict('reinit');
      const replicas = replicasOf('a', 'b');
      const request = requestOf({ affinity: 'chat' });
      const first = placeAt(affinity, request, replicas);
      replicas.find((r) => r.id === first)!.epoch = 2;
      const move = affinity.place(request, replicas, 5)!;
      affinity.pin(move, replicas[0]!);
      expect(affinity.place(request, replicas, 6)!.from).toBeUndefined();
      affinity.unpin(move);
      expect(affinity.place(request, replicas, 7)!.from).toBe(first);
    });
  });

  describe('handles', () => {
    const affinity = () => new Affinity('mem', { by: 'handle', argument: '/sessionId', maxKeys: 100 });

    it('are learnt from results and lead back to the replica that minted them', () => {
      const handles = affinity();
      const replicas = replicasOf('a', 'b', 'c');
      handles.learn({ structuredContent: { sessionId: 'h1' } }, replicas[2]!);
      handles.learn({ structuredContent: { other: 1 } }, replicas[1]!);
      handles.learn({ content: [] }, replicas[1]!);
      expect(handles.size).toBe(1);
      expect(handles.place(call({ sessionId: 'h1' }), replicas, 0)!.only).toBe(2);
      expect(handles.place(call({}), replicas, 0)).toBeUndefined();
      // Unknown: minted before our time; by hash, unpinned.
      expect(handles.place(call({ sessionId: 'h9' }), replicas, 0)).toMatchObject({
        only: undefined,
        pin: false,
      });
    });

    it('are dead for good when their replica is', () => {
      const handles = affinity();
      const replicas = replicasOf('a', 'b');
      handles.learn({ structuredContent: { sessionId: 'h1' } }, replicas[0]!);
      replicas[0]!.epoch = 2;
      for (const startedAt of [0, 1_000, 1_000_000]) {
        const request = call({ sessionId: 'h1' }, { startedAt });
        expect(lossOf(() => handles.place(request, replicas, 10)).code).toBe('affinity_lost');
      }
    });

    it('are forgotten from the oldest on', () => {
      const handles = affinity();
      const [replica] = replicasOf('a');
      for (let k = 0; k < 500; k++) handles.learn({ structuredContent: { sessionId: `h${k}` } }, replica!);
      expect(handles.size).toBe(100);
      expect(handles.place(call({ sessionId: 'h499' }), [replica!], 0)!.only).toBe(0);
      expect(handles.place(call({ sessionId: 'h0' }), [replica!], 0)!.only).toBeUndefined();
    });

    it('may stand elsewhere in the result', () => {
      const handles = new Affinity('mem', { by: 'handle', argument: '/id', result: '/_meta/x/handle' });
      handles.learn({ _meta: { x: { handle: 12 } } }, replicasOf('a')[0]!);
      expect(handles.place(call({ id: 12 }), replicasOf('b', 'a'), 0)!.only).toBe(1);
    });
  });
});
