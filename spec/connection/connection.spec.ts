import { afterEach, describe, expect, it } from '@jest/globals';
import type { Link } from '../../lib/connection/attempt.ts';
import { Connection, type ConnectionOptions } from '../../lib/connection/connection.ts';
import { createClock } from '../../lib/core/clock.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import type { Channel } from '../../lib/mcp/wire/channel.ts';
import { workshop, type Workshop } from '../support/attempts.ts';
import { hostHearsNothing, until } from '../support/engines.ts';
import { collectGarbage } from '../support/garbage.ts';

hostHearsNothing();

interface Scene {
  readonly shop: Workshop;
  readonly connection: Connection;
  /** `Disconnected → Connecting`, … */
  readonly steps: string[];
  readonly errors: TroupeError[];
  is(state: string): Promise<void>;
}

const made: Connection[] = [];
afterEach(async () => {
  for (const connection of made.splice(0)) {
    await connection.disconnect(0);
    connection.dispose();
  }
});

function scene(
  over: (shop: Workshop) => Partial<ConnectionOptions> = () => ({}),
  link: (shop: Workshop) => Partial<Link> = () => ({}),
): Scene {
  const shop = workshop(link);
  const steps: string[] = [];
  const errors: TroupeError[] = [];
  const connection = new Connection({
    id: 's#0',
    server: 's',
    clock: createClock(),
    createAttempt: (assumeLegacy) => shop.attempt({ assumeLegacy }),
    restart: () => ({ delayMs: 60_000, parked: false }),
    onChange: ({ from, to, error }) => {
      steps.push(`${from} → ${to}`);
      if (error !== undefined) errors.push(error);
    },
    onSession: () => ({ onNotification: () => {}, onOddity: () => {} }),
    ...over(shop),
  });
  made.push(connection);
  const is = (state: string): Promise<void> =>
    until(() => connection.state === state, `${state}, not ${connection.state}`);
  return { shop, connection, steps, errors, is };
}

const ROUND = [
  'Disconnected → Connecting',
  'Connecting → Initializing',
  'Initializing → Connected',
  'Connected → Disconnecting',
  'Disconnecting → Disconnected',
];

describe('a connection', () => {
  it('tells each transition once and in order, and has a session only while it is Connected', async () => {
    const { connection, steps, shop, is } = scene();
    expect([connection.state, connection.session, connection.willConnect]).toEqual([
      'Disconnected',
      undefined,
      false,
    ]);
    connection.wake();
    connection.wake();
    expect([connection.state, connection.attempt, connection.willConnect]).toEqual(['Connecting', 1, true]);
    await is('Connected');
    expect(connection.session?.era).toBe('legacy');
    expect([connection.attempt, connection.restarts]).toEqual([0, 0]);
    await Promise.all([connection.disconnect(100), connection.disconnect(0)]);
    expect(connection.session).toBeUndefined();
    expect(steps).toEqual(ROUND);
    expect(shop.links.map(({ connects, releases }) => [connects, releases.length])).toEqual([[1, 1]]);
  });

  it('connects again when it was wanted while it closed, unless it was closed once more', async () => {
    const { connection, steps, is } = scene();
    connection.wake();
    await is('Connected');
    const closing = connection.disconnect(50);
    connection.wake();
    await closing;
    await is('Connected');
    expect(steps).toEqual([...ROUND, ...ROUND.slice(0, 3)]);
    const first = connection.disconnect(50);
    connection.wake();
    await Promise.all([first, connection.disconnect(50)]);
    await new Promise((resolve) => void setImmediate(resolve));
    expect(steps).toEqual([...ROUND, ...ROUND]);
  });

  it('waits for the backoff, which a wake cuts short, and counts the restart', async () => {
    let refuse = true;
    const { connection, errors, is, shop } = scene(
      () => ({}),
      ({ channel }) => ({
        connect: () =>
          refuse ? Promise.reject(new TroupeError('unavailable', 'not there')) : Promise.resolve(channel()),
      }),
    );
    connection.wake();
    await is('Error');
    expect(connection.error).toMatchObject({ code: 'unavailable', server: 's', connection: 's#0' });
    expect(errors).toEqual([connection.error]);
    expect([connection.willConnect, connection.parked]).toEqual([true, false]);
    refuse = false;
    connection.wake();
    await is('Connected');
    expect([connection.restarts, connection.error, shop.links.length]).toEqual([1, undefined, 2]);
  });

  it('that is parked is expected by nobody', async () => {
    const { connection, is } = scene(
      () => ({ restart: () => ({ delayMs: 60_000, parked: true }) }),
      () => ({ connect: () => Promise.reject(new Error('not there')) }),
    );
    connection.wake();
    await is('Error');
    expect([connection.parked, connection.willConnect]).toEqual([true, false]);
  });

  it('opens anew when its session serves no longer, after the old link was released', async () => {
    const order: string[] = [];
    const { connection, is } = scene(
      () => ({ restart: () => ({ delayMs: 1, parked: false }) }),
      ({ channel }) => ({
        connect() {
          order.push('connect');
          return Promise.resolve(channel());
        },
        async release() {
          await new Promise((resolve) => void setImmediate(resolve));
          order.push('released');
        },
      }),
    );
    connection.wake();
    await is('Connected');
    connection.lost(new TroupeError('connection_lost', 'it does not answer'));
    expect(connection.state).toBe('Error');
    await is('Connected');
    expect(order).toEqual(['connect', 'released', 'connect']);
  });

  it('resolves its disconnect only when also the attempt before is gone, which was being closed', async () => {
    let free = (): void => {};
    let released = 0;
    const { connection, steps, shop } = scene(
      ({ attempt }) => ({
        createAttempt: (assumeLegacy) => attempt({ assumeLegacy, era: 'auto', startTimeoutMs: 10_000 }),
      }),
      ({ channel }) => ({
        connect: () => Promise.resolve(endsOnProbe(channel())),
        async release() {
          // The process of the first attempt takes its time; that of the second was never started.
          if (++released === 1) await new Promise<void>((resolve) => (free = resolve));
        },
      }),
    );
    connection.wake();
    await until(() => shop.links.length === 2, 'the second attempt');
    await until(() => shop.links[0]?.releases.length === 1, 'the first to be released');
    let gone = false;
    const ending = connection.disconnect(0).then(() => (gone = true));
    await until(() => shop.links[1]?.releases.length === 1, 'the second to be released');
    await new Promise((resolve) => void setImmediate(resolve));
    expect([gone, connection.state]).toEqual([false, 'Disconnecting']);
    free();
    await ending;
    expect(steps.at(-1)).toBe('Disconnecting → Disconnected');
    expect(shop.links[1]?.connects).toBe(0);
  });
});

describe('what is over', () => {
  const WAYS: ReadonlyArray<readonly [string, (shop: Workshop) => Partial<Link>]> = [
    ['sessions that were lost', () => ({})],
    ['servers that were not there', () => ({ connect: () => Promise.reject(new Error('not there')) })],
    ['servers that ended', ({ channel }) => ({ connect: () => Promise.resolve(endsOnProbe(channel())) })],
    [
      'channels that failed',
      ({ channel }) => ({ connect: () => Promise.resolve(Object.assign(channel(), { open: fails })) }),
    ],
  ];
  const fails = (): Promise<void> => Promise.reject(new Error('not today'));

  // The frames of an error hold whatever its functions were called on, until its stack is read.
  it.each(WAYS)('is let go: %s', async (_, link) => {
    const attempts: Array<WeakRef<object>> = [];
    const { connection } = scene(
      ({ attempt }) => ({
        createAttempt(assumeLegacy) {
          const made = attempt({ assumeLegacy, era: 'auto' });
          attempts.push(new WeakRef(made));
          return made;
        },
        restart: () => ({ delayMs: 1, parked: false }),
      }),
      link,
    );
    connection.wake();
    await until(() => {
      if (connection.state === 'Connected') connection.lost(new TroupeError('connection_lost', 'gone'));
      return attempts.length >= 20;
    }, 'twenty attempts');
    await connection.settled((state) => state === 'Connected' || state === 'Error');
    // What a turn has seen of a weak reference stays until its end.
    await new Promise((resolve) => void setTimeout(resolve, 10));
    collectGarbage();
    expect(attempts.filter((attempt) => attempt.deref() !== undefined).length).toBeLessThanOrEqual(4);
  });
});

/** A server that ends on anything but `initialize`. */
function endsOnProbe(channel: Channel): Channel {
  const send = channel.send.bind(channel);
  channel.send = (message) => {
    if ('method' in message && message.method !== 'initialize') {
      void channel.close(0);
      return;
    }
    return send(message);
  };
  return channel;
}

describe('a defect of ours in the connection', () => {
  const fault = (): never => {
    throw new RangeError('a defect');
  };
  const CASES: ReadonlyArray<readonly [string, (shop: Workshop) => Partial<ConnectionOptions>, number]> = [
    ['while an attempt is made', () => ({ createAttempt: fault }), 0],
    ['while a session is taken over', () => ({ onSession: fault }), 1],
    [
      'while a failure is judged',
      ({ attempt }) => ({
        createAttempt: () =>
          attempt({ startTimeoutMs: 1, gate: { enter: () => Promise.reject(new Error('no')) } }),
        restart: fault,
      }),
      1,
    ],
  ];

  it.each(CASES)(
    '%s is its error, keeps nobody waiting and leaves nothing behind',
    async (_, over, links) => {
      const { connection, steps, errors, shop, is } = scene(over);
      connection.wake();
      await connection.settled((state) => state === 'Error');
      expect(connection.error).toMatchObject({
        code: 'internal',
        server: 's',
        connection: 's#0',
        cause: expect.any(RangeError),
      });
      expect(errors).toEqual([connection.error]);
      expect([connection.session, connection.parked, connection.willConnect]).toEqual([
        undefined,
        true,
        false,
      ]);
      connection.wake();
      expect(connection.state).toBe('Error');
      await until(
        () => shop.links.every(({ releases }) => releases.length === 1),
        'the links to be released',
      );
      expect(shop.links).toHaveLength(links);
      await Promise.all([connection.disconnect(0), connection.disconnect(0)]);
      await is('Disconnected');
      expect(steps.slice(-3)).toEqual([
        expect.stringMatching(/ → Error$/),
        'Error → Disconnecting',
        'Disconnecting → Disconnected',
      ]);
    },
  );

  it('after a failure wakes who waits for the next attempt', async () => {
    let attempts = 0;
    const { connection, is } = scene(
      ({ attempt }) => ({
        createAttempt: () => (++attempts === 1 ? attempt() : fault()),
      }),
      () => ({ connect: () => Promise.reject(new Error('not there')) }),
    );
    connection.wake();
    await is('Error');
    const changed = connection.changed();
    connection.wake();
    await changed;
    expect([connection.state, connection.parked, connection.error?.code]).toEqual([
      'Error',
      true,
      'internal',
    ]);
  });
});
