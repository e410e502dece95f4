import { describe, expect, it } from '@jest/globals';
import { lastValueFrom, toArray } from 'rxjs';
import { TroupeError } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import { aggregate, fanOut, type FanOutDeps } from '../../lib/engine/fan-out.ts';

const ignore = (): void => {};

/** Legs that settle when told to. */
function setting(members: readonly string[]) {
  const legs = new Map<
    string,
    { resolve: (value: Json) => void; reject: (error: unknown) => void; cancelled: boolean }
  >();
  const deps: FanOutDeps = {
    members: (wanted) => wanted ?? members,
    now: () => 0,
    leg: (server) => {
      const state = {
        resolve: ignore as (value: Json) => void,
        reject: ignore as (error: unknown) => void,
        cancelled: false,
      };
      const answer = new Promise<Json>((resolve, reject) => {
        state.resolve = resolve;
        state.reject = reject;
      });
      legs.set(server, state);
      return { answer, cancel: () => (state.cancelled = true) };
    },
  };
  const leg = (server: string) => {
    const found = legs.get(server);
    if (found === undefined) throw new Error(`${server} was not asked`);
    return found;
  };
  return { deps, legs, leg };
}

const late = new TroupeError('deadline_exceeded', 'late');

describe('fanOut', () => {
  it('asks nobody before somebody subscribes, and then gives rows as they come', async () => {
    const { deps, legs, leg } = setting(['a', 'b']);
    const rows$ = fanOut(undefined, deps);
    expect(legs.size).toBe(0);
    const rows = lastValueFrom(rows$.pipe(toArray()));
    leg('b').resolve({ n: 2 });
    await Promise.resolve();
    leg('a').reject(late);
    expect(await rows).toMatchObject([
      { server: 'b', ok: true, result: { n: 2 } },
      { server: 'a', ok: false, error: { code: 'deadline_exceeded' } },
    ]);
  });

  it('serves one subscriber', async () => {
    const { deps } = setting([]);
    const rows$ = fanOut(undefined, deps);
    expect(await lastValueFrom(rows$.pipe(toArray()))).toEqual([]);
    await expect(lastValueFrom(rows$, { defaultValue: undefined })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  it('cancels every leg when nobody listens any more', () => {
    const { deps, leg } = setting(['a', 'b']);
    fanOut(undefined, deps).subscribe().unsubscribe();
    expect([leg('a').cancelled, leg('b').cancelled]).toEqual([true, true]);
  });

  it('fails as a stream only for a server that does not exist', async () => {
    const deps: FanOutDeps = {
      ...setting([]).deps,
      members: () => {
        throw new TroupeError('not_found', 'no server "x"');
      },
    };
    await expect(lastValueFrom(fanOut(['x'], deps))).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('aggregate', () => {
  const method = 'tools/call';

  it('asks all at once and keeps the order of declaration', async () => {
    const { deps, leg } = setting(['a', 'b']);
    const whole = aggregate({ method, reduce: (rows) => rows.map((r) => r.server) }, deps);
    leg('b').resolve({});
    leg('a').reject(late);
    expect(await whole).toMatchObject({
      result: ['a', 'b'],
      failures: [{ server: 'a', error: { code: 'deadline_exceeded' } }],
    });
  });

  it('asks one after the other', async () => {
    const { deps, legs, leg } = setting(['a', 'b']);
    const whole = aggregate({ method, mode: 'sequential', reduce: (rows) => rows.length }, deps);
    await Promise.resolve();
    expect([...legs.keys()]).toEqual(['a']);
    leg('a').resolve({});
    await new Promise(setImmediate);
    leg('b').resolve({});
    expect((await whole).result).toBe(2);
  });

  it('takes the first success and cancels the rest', async () => {
    const { deps, leg } = setting(['a', 'b', 'c']);
    const whole = aggregate({ method, mode: 'first' }, deps);
    leg('a').reject(late);
    leg('c').resolve({ content: [] });
    expect(await whole).toMatchObject({ result: { content: [] }, failures: [{ server: 'a' }] });
    expect(leg('b').cancelled).toBe(true);
  });

  it('types a reducer whose promise rejects, and waits for one whose promise resolves', async () => {
    const failing = setting(['a']);
    const later = (): Promise<never> => Promise.reject(new Error('defect'));
    const broken = aggregate({ method, reduce: later }, failing.deps);
    failing.leg('a').resolve({});
    await expect(broken).rejects.toMatchObject({ code: 'internal' });
    const good = setting(['a']);
    const whole = aggregate({ method, reduce: (rows) => Promise.resolve(rows.length) }, good.deps);
    good.leg('a').resolve({});
    expect((await whole).result).toBe(1);
  });

  it('types a reducer that throws', async () => {
    const { deps, leg } = setting(['a']);
    const broken = (): never => {
      throw new Error('defect');
    };
    const whole = aggregate({ method, reduce: broken }, deps);
    leg('a').resolve({});
    await expect(whole).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('broken') as unknown,
    });
  });
});
