import { describe, expect, it } from '@jest/globals';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import { SessionLists } from '../../lib/engine/session-lists.ts';
import { createSlices } from '../../lib/engine/slices.ts';
import type { Session, SessionRequest } from '../../lib/mcp/session/session.ts';
import { limitsWith } from '../support/channel-dialogue.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

/** A session that answers lists as told and counts what it was asked. */
function setting(
  change: {
    listChanged?: boolean;
    ttlMs?: number;
    limits?: Parameters<typeof limitsWith>[0];
    pages?: (cursor: string | undefined) => Json;
  } = {},
) {
  const clock = createVirtualClock();
  const asked: SessionRequest[] = [];
  const listed: Array<{ kind: string; names: string[]; cut: string | undefined }> = [];
  const failed: TroupeError[] = [];
  let hold: Promise<void> = Promise.resolve();
  const session = {
    capabilities: { tools: { listChanged: change.listChanged ?? true } },
    supports: (method: string) => method === 'tools/list',
    async request(request: SessionRequest) {
      asked.push(request);
      await Promise.race([hold, new Promise((_, reject) => void request.cancellation.listen(reject))]);
      request.cancellation.throwIfCancelled();
      return (
        change.pages?.(request.params?.['cursor'] as string | undefined) ?? {
          tools: [{ name: `t${asked.length}` }],
        }
      );
    },
  } as unknown as Session;
  const lists = new SessionLists({
    session,
    server: 's',
    limits: limitsWith(change.limits),
    clock,
    timeoutMs: 1_000,
    ttlMs: change.ttlMs ?? 0,
    slices: createSlices(clock.now),
    onListed: (kind, list) => {
      const { items, cut } = list;
      listed.push({ kind, names: items.map((i) => String((i as Json)['name'])), cut: cut?.detail });
      return list;
    },
    onFailed: (_, error) => failed.push(error),
  });
  const block = (): (() => void) => {
    let release = (): void => {};
    hold = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  };
  return { clock, asked, listed, failed, lists, block };
}

describe('SessionLists', () => {
  it('asks only for what the server advertises; the rest is known to be empty', async () => {
    const { lists, listed, asked, clock } = setting();
    lists.start();
    await clock.flush();
    expect(asked.map((r) => r.method)).toEqual(['tools/list']);
    expect(listed.map((l) => l.kind).sort()).toEqual(['prompts', 'resourceTemplates', 'resources', 'tools']);
  });

  it('asks again after a change whose list has failed, although nothing is announced any more', async () => {
    let fails = false;
    const { lists, asked, clock } = setting({
      pages: () => {
        if (fails) throw new Error('busy');
        return { tools: [{ name: 'a' }] };
      },
    });
    await lists.fresh('tools');
    fails = true;
    lists.changed('tools');
    await clock.advance(30);
    expect(lists.isFresh('tools')).toBe(false);
    // Not with every question: it may be slow to fail.
    await expect(lists.fresh('tools')).rejects.toMatchObject({ code: 'internal' });
    expect(asked).toHaveLength(2);
    await clock.advance(1_000);
    expect(asked).toHaveLength(3);
    fails = false;
    await clock.advance(1_900);
    await expect(lists.fresh('tools')).rejects.toMatchObject({ code: 'internal' });
    await clock.advance(200);
    await lists.fresh('tools');
    expect([asked.length, lists.isFresh('tools')]).toEqual([4, true]);
  });

  it('serves a fresh list from memory, and one that nobody keeps fresh again and again', async () => {
    const told = setting();
    await told.lists.fresh('tools');
    await told.lists.fresh('tools');
    expect(told.asked).toHaveLength(1);
    await told.lists.fresh('tools', true);
    expect(told.asked).toHaveLength(2);
    const untold = setting({ listChanged: false });
    await untold.lists.fresh('tools');
    await untold.lists.fresh('tools');
    expect(untold.asked).toHaveLength(2);
  });

  it('keeps a list without notifications for its time', async () => {
    const { lists, asked, clock } = setting({ listChanged: false, ttlMs: 500 });
    await lists.fresh('tools');
    await clock.advance(499);
    await lists.fresh('tools');
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    await lists.fresh('tools');
    expect(asked).toHaveLength(2);
  });

  it('makes one list of a storm of changes, and one more of those that come meanwhile', async () => {
    const { lists, asked, clock, block } = setting();
    await lists.fresh('tools');
    const release = block();
    for (let i = 0; i < 20_000; i += 1) lists.changed('tools');
    await clock.advance(25);
    expect(asked).toHaveLength(2);
    for (let i = 0; i < 20_000; i += 1) lists.changed('tools');
    release();
    await clock.flush();
    await clock.flush();
    expect(asked).toHaveLength(3);
    expect(clock.armed).toBe(0);
  });

  it('bounds the time of a list', async () => {
    const { lists, clock, block, failed } = setting();
    const release = block();
    const listing = lists.fresh('tools');
    listing.catch(() => {});
    await clock.advance(1_000);
    release();
    await expect(listing).rejects.toMatchObject({ code: 'deadline_exceeded', server: 's' });
    expect(failed).toHaveLength(1);
  });

  it('ends what is under way with the session', async () => {
    const { lists, clock, block } = setting();
    const release = block();
    const listing = lists.fresh('tools');
    listing.catch(() => {});
    lists.dispose();
    release();
    await expect(listing).rejects.toMatchObject({ code: 'connection_lost' });
    expect(clock.armed).toBe(0);
  });

  describe('limits', () => {
    const endless = (cursor: string | undefined): Json => {
      const n = Number(cursor ?? '0');
      return { tools: [{ name: `p${n}` }], nextCursor: String(n + 1) };
    };

    it('cuts a cursor that never ends after so many pages', async () => {
      const { lists, listed } = setting({ pages: endless, limits: { listPages: 5 } });
      await lists.fresh('tools');
      expect(listed[0]).toMatchObject({
        names: ['p0', 'p1', 'p2', 'p3', 'p4'],
        cut: 'tools/list was cut: more than 5 pages',
      });
    });

    it('cuts a cursor that comes twice', async () => {
      const { lists, listed } = setting({ pages: () => ({ tools: [{ name: 'x' }], nextCursor: 'again' }) });
      await lists.fresh('tools');
      expect(listed[0]?.cut).toContain('came twice');
      expect(listed[0]?.names).toHaveLength(2);
    });

    it('cuts too many items and too many bytes', async () => {
      const many = setting({
        pages: () => ({ tools: Array.from({ length: 10 }, (_, i) => ({ name: `n${i}` })) }),
        limits: { listItems: 3 },
      });
      await many.lists.fresh('tools');
      expect(many.listed[0]).toMatchObject({
        names: ['n0', 'n1', 'n2'],
        cut: 'tools/list was cut: more than 3 items',
      });
      const large = setting({
        pages: () => ({ tools: [{ name: 'x'.repeat(2_000) }] }),
        limits: { listBytes: 1_000 },
      });
      await large.lists.fresh('tools');
      expect(large.listed[0]?.cut).toContain('1000 bytes');
    });

    it('fails on an answer without a list', async () => {
      const { lists } = setting({ pages: () => ({ tools: 'none' }) });
      await expect(lists.fresh('tools')).rejects.toMatchObject({ code: 'invalid_response' });
    });
  });

  it('an attempt after a failure keeps nobody waiting who has something to be shown', async () => {
    const { lists, clock, block, asked } = setting();
    lists.start();
    await clock.flush();
    block();
    lists.changed('tools');
    // Settled, failed after a second, and tried again a second after that.
    for (const ms of [25, 1_000, 1_000]) {
      await clock.advance(ms);
      await clock.flush();
    }
    expect(asked).toHaveLength(3);
    const told = lists.fresh('tools').then(
      () => 'known',
      (error: TroupeError) => error.code,
    );
    await clock.flush();
    expect(await Promise.race([told, Promise.resolve('waits')])).toBe('deadline_exceeded');
    lists.dispose();
  });

  it('are waited for by those who need not for a second at most, and not at all once they are known', async () => {
    const { lists, clock, block } = setting();
    const release = block();
    lists.start();
    await clock.flush();
    let over = false;
    void lists.early('tools')?.then(() => {
      over = true;
    });
    await clock.advance(900);
    expect([over, lists.early('tools') === undefined]).toEqual([false, false]);
    await clock.advance(99);
    release();
    await clock.flush();
    expect([over, lists.early('tools')]).toEqual([true, undefined]);
    lists.dispose();
    expect(clock.armed).toBe(0);
  });
});
