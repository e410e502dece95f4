import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import type { Handler } from '../../lib/core/interceptor.ts';
import { SUPERSEDED } from '../../lib/core/outcome.ts';
import { seededRandom } from '../../lib/core/ports.ts';
import {
  type Candidate,
  createPool,
  describe as describeDown,
  type PoolOptions,
} from '../../lib/routing/pool.ts';
import { leastOutstanding } from '../../lib/routing/strategies/least-outstanding.ts';
import { failure, heldHandler, readOf, requestOf, scriptedHandler } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

type Changeable = { -readonly [K in keyof Candidate]: Candidate[K] };

/** A pool of candidates whose handlers hold what they get. */
function poolOf(
  candidates: readonly (Partial<Candidate> & { readonly id: string })[],
  options: Partial<PoolOptions> = {},
) {
  const clock = createVirtualClock();
  const handlers = new Map<string, ReturnType<typeof heldHandler>>();
  const list = candidates.map((c): Changeable => {
    const held = heldHandler();
    handlers.set(c.id, held);
    return { availability: 'usable', handle: held, ...c };
  });
  const pool = createPool({
    server: 'alpha',
    candidates: list,
    strategy: leastOutstanding(),
    clock,
    random: seededRandom(1),
    ...options,
  });
  const calls = (id: string) => handlers.get(id)!.calls;
  return { pool, clock, candidates: list, calls };
}

const plain = (handle: Handler) => ({ handle });
const noFacts = () => ({ facts: { attempts: 0, rounds: 0 } });

describe('replica pool', () => {
  it('picks, leases, hands over, books the outcome and gives the answer as it came', async () => {
    const { pool, clock, calls } = poolOf([{ id: 'alpha#1' }, { id: 'alpha#2' }]);
    const request = requestOf(noFacts());
    const answer = pool.handle(request);
    const id = calls('alpha#1').length === 1 ? 'alpha#1' : 'alpha#2';
    expect(pool.inFlight).toBe(1);
    expect(request.facts.connection).toBe(id);
    expect(calls(id)[0]!.request).toBe(request);
    await clock.advance(40);
    const response = { content: [], extra: 1 };
    calls(id)[0]!.reply(response);
    expect(await answer).toBe(response);
    expect(pool.inFlight).toBe(0);
    expect(pool.load(id)).toMatchObject({ inFlight: 0, latencyMs: 40, calls: 1 });
    expect(pool.load('nobody')).toBeUndefined();
  });

  it('gives back the slot whatever happens, and names the replica in the error', async () => {
    const script = scriptedHandler(failure('connection_lost', { delivery: 'sent' }), new RangeError('bug'), {
      isError: true,
    });
    const { pool } = poolOf([{ id: 'alpha#1', ...plain(script), slots: 1 }]);
    await expect(pool.handle(requestOf({ attempt: 2 }))).rejects.toMatchObject({
      code: 'connection_lost',
      server: 'alpha',
      connection: 'alpha#1',
      attempt: 2,
      delivery: 'sent',
    });
    await expect(pool.handle(requestOf())).rejects.toMatchObject({
      code: 'internal',
      connection: 'alpha#1',
      delivery: 'sent',
    });
    expect(await pool.handle(requestOf())).toEqual({ isError: true });
    expect(pool.inFlight).toBe(0);
    const throws: Handler = () => {
      throw failure('unavailable');
    };
    const { pool: other } = poolOf([{ id: 'alpha#1', ...plain(throws) }]);
    await expect(other.handle(requestOf())).rejects.toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
      connection: 'alpha#1',
    });
    expect(other.inFlight).toBe(0);
  });

  it('says who is doing what when nobody is ready', async () => {
    const { pool } = poolOf([
      { id: 'a', availability: 'impossible', state: 'Connecting' },
      { id: 'b', availability: 'impossible', state: 'Initializing' },
      { id: 'c', availability: 'impossible', state: 'Error' },
    ]);
    expect(pool.hasReady).toBe(false);
    await expect(pool.handle(requestOf())).rejects.toThrow(
      '[unavailable] alpha: no ready replica (2 connecting, 1 down)',
    );
    expect(describeDown([])).toBe('it has no replica');
    expect(
      describeDown([{ availability: 'impossible', state: 'AuthRequired' }, { availability: 'impossible' }]),
    ).toBe('no ready replica (1 waiting for authorization, 1 down)');
  });

  it('does not hand over what is cancelled already', async () => {
    const { pool, calls } = poolOf([{ id: 'a' }]);
    const cancellation = new Cancellation();
    cancellation.cancel(failure('cancelled'));
    await expect(pool.handle(requestOf({ cancellation }))).rejects.toMatchObject({ code: 'cancelled' });
    expect(calls('a')).toHaveLength(0);
  });

  describe('waiting for a slot', () => {
    it('is first come, first served', async () => {
      const { pool, clock, calls } = poolOf([{ id: 'a', slots: 2 }]);
      const requests = Array.from({ length: 5 }, () => requestOf());
      const answers = Promise.allSettled(requests.map((request) => pool.handle(request)));
      expect([calls('a').length, pool.waiting, pool.inFlight]).toEqual([2, 3, 2]);
      calls('a')[1]!.reply();
      await clock.flush();
      expect(calls('a')[2]!.request).toBe(requests[2]);
      calls('a')[0]!.fail(failure('connection_lost', { delivery: 'sent' }));
      await clock.flush();
      expect(calls('a')[3]!.request).toBe(requests[3]);
      expect(pool.waiting).toBe(1);
      calls('a')[2]!.reply();
      await clock.flush();
      for (const held of calls('a')) held.reply();
      await clock.flush();
      calls('a').at(-1)!.reply();
      expect((await answers).map((a) => a.status)).toEqual([
        'rejected',
        'fulfilled',
        'fulfilled',
        'fulfilled',
        'fulfilled',
      ]);
      expect([pool.waiting, pool.inFlight]).toEqual([0, 0]);
    });

    it('ends with the cancellation, which leaves no trace', async () => {
      const { pool, clock, calls } = poolOf([{ id: 'a', slots: 1 }]);
      const first = pool.handle(requestOf());
      const cancellation = new Cancellation();
      const second = pool.handle(requestOf({ cancellation }));
      const third = pool.handle(requestOf());
      cancellation.cancel(new TroupeError('deadline_exceeded', 'over'));
      await expect(second).rejects.toMatchObject({
        code: 'deadline_exceeded',
        server: 'alpha',
        delivery: 'unsent',
      });
      expect(pool.waiting).toBe(1);
      calls('a')[0]!.reply();
      await clock.flush();
      calls('a')[1]!.reply();
      await Promise.all([first, third]);
      expect([pool.waiting, pool.inFlight, clock.armed]).toEqual([0, 0, 0]);
    });

    it('is bounded; the refusal says when to come back', async () => {
      const { pool, clock, calls } = poolOf([{ id: 'a', slots: 1 }], { maxQueue: 2 });
      const first = pool.handle(requestOf());
      await clock.advance(200);
      calls('a')[0]!.reply();
      await first;
      const waiting = [1, 2, 3].map(() => pool.handle(requestOf({ deadline: 1e9 })));
      await expect(pool.handle(requestOf({ deadline: 1e9 }))).rejects.toMatchObject({
        code: 'queue_full',
        delivery: 'unsent',
        // Two wait, 200 ms each, and then this one.
        retryAfterMs: 600,
        message: '[queue_full] alpha: all 1 slots are taken and 2 requests wait already',
      });
      pool.stop();
      calls('a')[1]!.reply();
      await Promise.allSettled(waiting);
    });

    it('takes nobody in whose turn would come after the deadline', async () => {
      const { pool, clock, calls } = poolOf([{ id: 'a', slots: 2 }]);
      const first = pool.handle(requestOf());
      await clock.advance(100);
      calls('a')[0]!.reply();
      await first;
      // 2 slots × (400 − 100) / 100 = 6 may wait.
      const soon = () => requestOf({ deadline: clock.now() + 400 });
      const answers = Array.from({ length: 9 }, () => pool.handle(soon()));
      expect(pool.waiting).toBe(6);
      await expect(answers[8]).rejects.toMatchObject({ code: 'queue_full' });
      // With more time there is more room, and one per slot always.
      void pool.handle(requestOf({ deadline: clock.now() + 4_000 })).catch(() => {});
      expect(pool.waiting).toBe(7);
      await expect(pool.handle(requestOf({ deadline: clock.now() }))).rejects.toMatchObject({
        code: 'deadline_exceeded',
      });
      pool.stop();
      await Promise.allSettled(answers.slice(2, 8));
    });

    it('does not waste a slot on a request whose time is over', async () => {
      const { pool, clock, calls } = poolOf([{ id: 'a', slots: 1 }]);
      const first = pool.handle(requestOf());
      const late = pool.handle(requestOf({ deadline: 1_500 }));
      const patient = pool.handle(requestOf());
      await clock.advance(600);
      calls('a')[0]!.reply();
      await expect(late).rejects.toMatchObject({ code: 'deadline_exceeded', delivery: 'unsent' });
      expect(calls('a')).toHaveLength(2);
      calls('a')[1]!.reply();
      await Promise.all([first, patient]);
    });

    it('ends when there is nobody left to wait for, and goes on when somebody comes', async () => {
      const { pool, candidates, clock, calls } = poolOf([
        { id: 'a', slots: 1 },
        { id: 'b', availability: 'impossible', state: 'Connecting' },
      ]);
      const first = pool.handle(requestOf());
      const second = pool.handle(requestOf());
      const third = pool.handle(requestOf());
      candidates[1]!.availability = 'usable';
      candidates[1]!.slots = 1;
      pool.swap(candidates);
      expect(calls('b')).toHaveLength(1);
      candidates[0]!.availability = 'impossible';
      candidates[1]!.availability = 'impossible';
      pool.wake();
      await expect(third).rejects.toMatchObject({ code: 'unavailable' });
      calls('a')[0]!.reply();
      calls('b')[0]!.reply();
      await Promise.all([first, second]);
      await clock.flush();
      expect(pool.inFlight).toBe(0);
    });

    it('lets others pass one that can go to a busy replica only', async () => {
      const { pool, clock, calls } = poolOf(
        [
          { id: 'a', slots: 1 },
          { id: 'b', slots: 1 },
        ],
        {
          affinity: { by: 'session' },
        },
      );
      const bound = requestOf({ affinity: 'chat' });
      const one = pool.handle(bound);
      const mine = bound.facts.connection!;
      const other = mine === 'a' ? 'b' : 'a';
      const chat = requestOf({ affinity: 'chat' });
      const two = pool.handle(chat);
      // A key that lives at the other replica.
      let key = 0;
      let free = requestOf({ affinity: `k${key}` });
      let three = pool.handle(free);
      const tries = [three];
      while (calls(other).length === 0) {
        free = requestOf({ affinity: `k${++key}` });
        three = pool.handle(free);
        tries.push(three);
      }
      expect(pool.waiting).toBe(tries.length);
      calls(mine)[0]!.reply();
      await clock.flush();
      expect(calls(mine)[1]!.request).toBe(chat);
      pool.stop();
      for (const id of [mine, other]) for (const held of calls(id)) held.reply();
      await Promise.allSettled([one, two, ...tries]);
      await clock.flush();
      expect([pool.inFlight, pool.waiting]).toEqual([0, 0]);
    });

    it('does not grow the stack when everybody in a long line fails at once', async () => {
      const gate = heldHandler();
      let served = 0;
      const handle: Handler = (request) => {
        if (served++ === 0) return gate(request);
        throw failure('unavailable');
      };
      const { pool } = poolOf([{ id: 'a', slots: 1, handle }], { maxQueue: 20_000 });
      const answers = Array.from({ length: 5_000 }, () => pool.handle(requestOf({ deadline: 1e12 })));
      gate.calls[0]!.reply();
      const settled = await Promise.allSettled(answers);
      expect(settled.filter((s) => s.status === 'rejected')).toHaveLength(4_999);
      expect([pool.inFlight, pool.waiting]).toEqual([0, 0]);
    });
  });

  it('stop: rejects who waits and who comes, lets the others finish', async () => {
    const { pool, calls } = poolOf([{ id: 'a', slots: 1 }]);
    const running = pool.handle(requestOf());
    const waiting = pool.handle(requestOf());
    pool.stop();
    pool.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'stopped', server: 'alpha' });
    await expect(pool.handle(requestOf())).rejects.toMatchObject({ code: 'stopped' });
    calls('a')[0]!.reply({ ok: 1 });
    expect(await running).toEqual({ ok: 1 });
  });

  it('keeps leases right when candidates are swapped under way', async () => {
    const { pool, candidates, clock, calls } = poolOf([{ id: 'a' }, { id: 'b' }, { id: 'c' }]);
    const answers = Array.from({ length: 9 }, () => pool.handle(requestOf()));
    pool.swap([candidates[2]!, candidates[0]!]);
    expect(pool.load('c')).toMatchObject({ inFlight: 3 });
    expect(pool.load('b')).toBeUndefined();
    for (const id of ['a', 'b', 'c']) for (const held of calls(id)) held.reply();
    await Promise.all(answers);
    await clock.flush();
    expect([pool.inFlight, pool.load('a')!.inFlight, pool.load('c')!.inFlight]).toEqual([0, 0, 0]);
    expect(() => pool.swap([candidates[0]!, candidates[0]!])).toThrow(/two replicas/);
    expect(pool.candidates).toHaveLength(2);
  });

  it('ejects a replica that keeps failing', async () => {
    const bad = scriptedHandler(failure('connection_lost', { delivery: 'sent' }));
    const good = scriptedHandler({ content: [] });
    const ejected: string[] = [];
    const { pool } = poolOf(
      [
        { id: 'bad', ...plain(bad) },
        { id: 'good', ...plain(good) },
      ],
      {
        outlier: {},
        onEject: ({ id, cause }) => ejected.push(`${id}: ${cause}`),
      },
    );
    for (let k = 0; k < 60; k++) await pool.handle(readOf('x:y')).catch(() => {});
    expect(ejected).toEqual(['bad: consecutive']);
    expect(bad.requests).toHaveLength(5);
  });

  describe('affinity', () => {
    it('brings a handle back to the replica that minted it', async () => {
      const make =
        (id: string): Handler =>
        async () => ({ structuredContent: { sessionId: `of ${id}` } });
      const { pool } = poolOf(
        ['a', 'b', 'c'].map((id) => ({ id, handle: make(id), epoch: 1 })),
        { affinity: { by: 'handle', argument: '/sessionId' } },
      );
      for (let k = 0; k < 12; k++) {
        const opened = await pool.handle(requestOf({ params: { name: 'open' } }));
        const { sessionId } = opened['structuredContent'] as { sessionId: string };
        const request = requestOf({ ...noFacts(), params: { name: 'use', arguments: { sessionId } } });
        await pool.handle(request);
        expect(`of ${request.facts.connection}`).toBe(sessionId);
      }
    });

    it('reinit: sets up the new replica once, for all requests of the key', async () => {
      const moves: unknown[] = [];
      let finish = (): void => {};
      const { pool, candidates, clock, calls } = poolOf(
        [
          { id: 'a', epoch: 1 },
          { id: 'b', epoch: 1 },
        ],
        {
          affinity: { by: 'session', onLoss: 'reinit' },
          onReinit: (move) => {
            moves.push(move);
            return new Promise((resolve) => {
              finish = resolve;
            });
          },
        },
      );
      const request = requestOf({ affinity: 'chat' });
      const first = pool.handle(request);
      const from = request.facts.connection!;
      const to = from === 'a' ? 'b' : 'a';
      calls(from)[0]!.reply();
      await first;
      candidates.find((c) => c.id === from)!.availability = 'impossible';
      const two = pool.handle(requestOf({ affinity: 'chat' }));
      const cancellation = new Cancellation();
      const three = pool.handle(requestOf({ affinity: 'chat', cancellation }));
      const four = pool.handle(requestOf({ affinity: 'chat' }));
      await clock.flush();
      expect(moves).toEqual([{ from, to }]);
      expect(calls(to)).toHaveLength(0);
      cancellation.cancel(failure('cancelled'));
      await expect(three).rejects.toMatchObject({ code: 'cancelled' });
      finish();
      await clock.flush();
      expect(calls(to)).toHaveLength(2);
      for (const held of calls(to)) held.reply();
      await Promise.all([two, four]);
    });

    it('reinit that fails: affinity_lost with the reason, and the next request tries again', async () => {
      let fail = true;
      const { pool, candidates } = poolOf(
        [
          { id: 'a', epoch: 1, ...plain(scriptedHandler({})) },
          { id: 'b', epoch: 1, ...plain(scriptedHandler({})) },
        ],
        {
          affinity: { by: 'session', onLoss: 'reinit' },
          onReinit: async () => {
            if (fail) throw new Error('no seat');
          },
        },
      );
      const request = requestOf({ affinity: 'chat' });
      await pool.handle(request);
      candidates.find((c) => c.id === request.facts.connection)!.epoch = 2;
      const lost = await pool.handle(requestOf({ affinity: 'chat' })).catch((error: unknown) => error);
      expect(lost).toMatchObject({
        code: 'affinity_lost',
        delivery: 'unsent',
        cause: { message: 'no seat' },
      });
      fail = false;
      expect(await pool.handle(requestOf({ affinity: 'chat' }))).toEqual({});
    });

    it('a key function that throws costs the request, not the pool', async () => {
      const { pool } = poolOf([{ id: 'a', ...plain(scriptedHandler({})) }], {
        affinity: {
          by: () => {
            throw new Error('bad key');
          },
        },
      });
      await expect(pool.handle(requestOf())).rejects.toMatchObject({
        code: 'internal',
        server: 'alpha',
        delivery: 'unsent',
      });
      expect(pool.inFlight).toBe(0);
    });
  });

  it('keeps tiers', async () => {
    const { pool, candidates, calls } = poolOf(
      [
        { id: 'main', tier: 0 },
        { id: 'spare', tier: 1 },
      ],
      { tiers: {} },
    );
    void pool.handle(requestOf({ affinity: 'x' }));
    void pool.handle(requestOf());
    candidates[0]!.availability = 'impossible';
    pool.wake();
    void pool.handle(requestOf());
    expect([calls('main').length, calls('spare').length]).toEqual([2, 1]);
  });
});

describe('a hedge that lost', () => {
  it('keeps its slot until the server can have heard of it; a caller who leaves keeps none', async () => {
    const { pool, clock, calls } = poolOf([{ id: 'alpha#1', slots: 1 }]);
    const lost = new Cancellation();
    const first = pool.handle(readOf('a:1', { cancellation: lost }));
    const second = pool.handle(readOf('a:2'));
    lost.cancel(failure('cancelled', { data: { reason: SUPERSEDED } }));
    await expect(first).rejects.toMatchObject({ code: 'cancelled' });
    await clock.advance(49);
    expect([pool.inFlight, pool.waiting, calls('alpha#1').length]).toEqual([1, 1, 1]);
    await clock.advance(1);
    expect([pool.inFlight, pool.waiting, calls('alpha#1').length]).toEqual([1, 0, 2]);
    calls('alpha#1')[1]?.reply({});
    await second;
    const left = new Cancellation();
    const third = pool.handle(readOf('a:3', { cancellation: left }));
    left.cancel(failure('cancelled'));
    await expect(third).rejects.toMatchObject({ code: 'cancelled' });
    expect([pool.inFlight, clock.armed]).toEqual([0, 0]);
  });

  it('leaves no timer behind where the pool stops meanwhile, or has stopped', async () => {
    const { pool, clock } = poolOf([{ id: 'alpha#1', slots: 2 }]);
    const [one, two] = [new Cancellation(), new Cancellation()];
    const answers = [one, two].map((cancellation) => pool.handle(readOf('a:1', { cancellation })));
    const superseded = failure('cancelled', { data: { reason: SUPERSEDED } });
    one.cancel(superseded);
    await expect(answers[0]).rejects.toMatchObject({ code: 'cancelled' });
    expect(clock.armed).toBe(1);
    pool.stop();
    expect([pool.inFlight, clock.armed]).toEqual([1, 0]);
    two.cancel(superseded);
    await expect(answers[1]).rejects.toMatchObject({ code: 'cancelled' });
    expect([pool.inFlight, clock.armed]).toEqual([0, 0]);
  });
});

describe('what never left its replica', () => {
  const refusing =
    (code: TroupeError['code']): Handler =>
    () =>
      Promise.reject(failure(code, { delivery: 'unsent' }));

  it('goes on to another one in the same attempt, each asked once', async () => {
    const { pool, calls } = poolOf([
      { id: 'alpha#1', handle: refusing('connection_lost') },
      { id: 'alpha#2', handle: refusing('queue_full') },
      { id: 'alpha#3' },
    ]);
    const requests = Array.from({ length: 50 }, () => requestOf({ operation: 'unsafe', ...noFacts() }));
    const answers = requests.map((request) => pool.handle(request));
    await new Promise((resolve) => void setImmediate(resolve));
    expect(calls('alpha#3')).toHaveLength(50);
    for (const { request, reply } of calls('alpha#3')) {
      expect(request.attempt).toBe(1);
      reply({});
    }
    expect(await Promise.all(answers)).toHaveLength(50);
    expect(pool.inFlight).toBe(0);
    for (const { facts } of requests) {
      expect(facts.connection).toBe('alpha#3');
      // One of the two is counted by the held handler itself.
      expect(facts.attempts - (facts.unsent ?? 0)).toBe(2);
    }
  });

  it('is an error where nobody else is left, and where another would say the same', async () => {
    const down = poolOf([
      { id: 'alpha#1', handle: refusing('unavailable') },
      { id: 'alpha#2', handle: refusing('unavailable') },
    ]);
    const request = requestOf(noFacts());
    await expect(down.pool.handle(request)).rejects.toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
    });
    expect(request.facts.attempts).toBe(2);
    const invalid = poolOf([
      { id: 'alpha#1', handle: refusing('invalid_request') },
      { id: 'alpha#2', availability: 'usable', handle: refusing('invalid_request') },
    ]);
    const other = requestOf(noFacts());
    await expect(invalid.pool.handle(other)).rejects.toMatchObject({ code: 'invalid_request' });
    expect(other.facts.attempts).toBe(1);
  });

  it('may have been sent where nobody says so: that stays where it is', async () => {
    const { pool, calls } = poolOf(
      [
        { id: 'alpha#1', handle: () => Promise.reject(failure('connection_lost', { delivery: 'sent' })) },
        { id: 'alpha#2', tier: 1 },
      ],
      { tiers: { mode: 'failover', factor: 1.4 } },
    );
    await expect(pool.handle(requestOf(noFacts()))).rejects.toMatchObject({ delivery: 'sent' });
    expect(calls('alpha#2')).toHaveLength(0);
  });
});

describe('a dip in capacity', () => {
  /** 100 requests a second, each with 500 ms, towards 4 slots; `serviceMs` is how long one takes at that time. */
  async function load(serviceMs: (now: number) => number, forMs: number) {
    const { pool, clock } = poolOf([
      {
        id: 'alpha',
        slots: 4,
        handle: (request) =>
          new Promise((resolve, reject) => {
            const disarm = clock.after(serviceMs(clock.now()), () => resolve({}));
            request.cancellation.listen((reason) => {
              disarm();
              reject(reason.with({ delivery: 'sent' }));
            });
          }),
      },
    ]);
    const started = clock.now();
    const ended: Array<{ readonly at: number; readonly code: string; readonly afterMs: number }> = [];
    for (let at = 0; at < forMs; at += 10) {
      const begun = clock.now();
      const cancellation = new Cancellation();
      const disarm = clock.after(500, () => cancellation.cancel(failure('deadline_exceeded')));
      const note = (code: string): void => {
        disarm();
        ended.push({ at: begun - started, code, afterMs: clock.now() - begun });
      };
      pool.handle(requestOf({ cancellation, deadline: begun + 500, ...noFacts() })).then(
        () => note('ok'),
        (error: TroupeError) => note(error.code),
      );
      await clock.advance(10);
    }
    await clock.advance(1_000);
    const okIn = (from: number, to: number) => ended.filter(({ at }) => at >= from && at < to);
    return { ended, okIn, clock };
  }

  it('is used to the full for who can still be answered in time, and is over at once', async () => {
    // 300 ms in place of 5: 13 of 100 requests a second can be served.
    const { ended, okIn, clock } = await load((now) => (now >= 2_000 && now < 7_000 ? 300 : 5), 9_000);
    expect(ended).toHaveLength(900);
    const during = okIn(2_000, 5_500);
    const served = during.filter(({ code }) => code === 'ok').length;
    // Capacity is 4 slots / 0.3 s × 3.5 s = 46.
    expect(served).toBeGreaterThanOrEqual(42);
    for (const { code } of during) expect(['ok', 'queue_full', 'deadline_exceeded']).toContain(code);
    // Slots that are taken when it ends are free 300 ms later; from then on everybody is served, and quickly.
    const after = okIn(6_400, 9_000);
    expect(after.every(({ code }) => code === 'ok')).toBe(true);
    expect(Math.max(...after.map(({ afterMs }) => afterMs))).toBeLessThanOrEqual(50);
    expect(clock.armed).toBe(0);
  });
});
