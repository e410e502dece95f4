import { describe, expect, it } from '@jest/globals';
import type { Attempt } from '../../lib/connection/attempt.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import type { Channel } from '../../lib/mcp/wire/channel.ts';
import { createStartGate } from '../../lib/supervision/start-gate.ts';
import { Cancellation } from '../../lib/core/cancellation.ts';
import { workshop } from '../support/attempts.ts';
import { failureOf, hostHearsNothing, until } from '../support/engines.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

hostHearsNothing();

const never = new AbortController().signal;
const forever = <T>(): Promise<T> => new Promise<T>(() => {});

async function opened(attempt: Attempt): Promise<void> {
  await attempt.open(never);
  await attempt.initialize(never);
}

describe('an attempt', () => {
  it('opens a session over its link, and ends both', async () => {
    const { attempt, peer, links } = workshop();
    const it = attempt();
    await it.open(never);
    const session = await it.initialize(never);
    expect(session.era).toBe('legacy');
    const [link] = links;
    expect([link?.connects, link?.releases, peer.connections]).toEqual([1, [], 1]);
    await it.close(500);
    expect(link?.releases).toHaveLength(1);
    expect(link?.releases[0]).toBeLessThanOrEqual(500);
  });

  it('is closed once, however often it is asked, also before it was opened', async () => {
    const { attempt, links } = workshop();
    const it = attempt();
    await Promise.all([it.close(100), it.close(0)]);
    expect(links[0]?.releases).toHaveLength(1);
    expect(await failureOf(it.open(never))).toMatchObject({ code: 'stopped', server: 's' });
    expect(links[0]?.connects).toBe(0);
  });

  it('has no session before it was opened', async () => {
    const { attempt } = workshop();
    expect(await failureOf(attempt().initialize(never))).toMatchObject({ code: 'internal', server: 's' });
  });

  it('says which step was not finished in time', async () => {
    const clock = createVirtualClock();
    const silent = workshop(() => ({ connect: forever<Channel> })).attempt({ clock, startTimeoutMs: 3_000 });
    const opening = failureOf(silent.open(never));
    expect(await clock.settle(opening)).toMatchObject({
      code: 'deadline_exceeded',
      message: expect.stringContaining('server "s" did not open in 3 s (Connecting)'),
      connection: 's#0',
    });
    const { attempt, peer } = workshop();
    const mute = attempt({ clock, startTimeoutMs: 3_000 });
    void peer.expectRequest('initialize').hang();
    await mute.open(never);
    const initializing = failureOf(mute.initialize(never));
    expect(await clock.settle(initializing)).toMatchObject({
      code: 'deadline_exceeded',
      message: expect.stringContaining('did not finish initialize in 3 s (Initializing)'),
    });
    await mute.close(0);
    expect(clock.armed).toBe(0);
  });

  it('does not count the wait for its turn as time to start', async () => {
    const clock = createVirtualClock();
    const gate = createStartGate(1);
    const leave = await gate.enter(new Cancellation());
    const { attempt, links } = workshop();
    const it = attempt({ clock, gate, startTimeoutMs: 3_000 });
    const opening = it.open(never);
    await clock.advance(60_000);
    expect([links[0]?.connects, clock.armed]).toEqual([0, 0]);
    leave();
    await opening;
    expect(links[0]?.connects).toBe(1);
    await it.close(0);
  });

  it('keeps its place until the session stands or it has ended, and gives it back once', async () => {
    const gate = createStartGate(1);
    const { attempt } = workshop();
    const [first, second, third] = [attempt({ gate }), attempt({ gate }), attempt({ gate })];
    await first.open(never);
    let begun = false;
    const opening = second.open(never).then(() => (begun = true));
    await new Promise((resolve) => void setImmediate(resolve));
    expect(begun).toBe(false);
    await first.initialize(never);
    await opening;
    await second.close(0);
    await first.close(0);
    // Both have gone; one place is there and no more.
    await third.open(never);
    const last = attempt({ gate });
    const waiting = failureOf(last.open(never));
    await last.close(0);
    expect(await waiting).toMatchObject({ code: 'stopped' });
    await third.close(0);
  });

  it('gives its place back also when it is ended in the moment in which it gets it', async () => {
    const gate = createStartGate(1);
    const { attempt, links } = workshop();
    const [first, second, third] = [attempt({ gate }), attempt({ gate }), attempt({ gate })];
    await opened(first);
    const holder = await gate.enter(new Cancellation());
    const opening = failureOf(second.open(never));
    // The turn of the second has come, and it has not heard of it yet.
    holder();
    const closing = second.close(0);
    expect(await opening).toMatchObject({ code: 'stopped' });
    await closing;
    expect(links[1]?.connects).toBe(0);
    await third.open(never);
    await Promise.all([first.close(0), third.close(0)]);
  });

  it('ends the opening under way with the state that wanted it', async () => {
    const { attempt, links } = workshop(() => ({ connect: forever<Channel> }));
    const aborter = new AbortController();
    const it = attempt();
    const opening = failureOf(it.open(aborter.signal));
    await until(() => links[0]?.connects === 1, 'the link to be asked');
    aborter.abort();
    expect(await opening).toMatchObject({ code: 'stopped', server: 's', connection: 's#0' });
    await it.close(0);
    expect(links[0]?.releases).toHaveLength(1);
  });

  it('releases the link although the channel fails to close', async () => {
    const { attempt, links } = workshop(({ channel }) => ({
      connect: () => {
        const real = channel();
        const close = real.close.bind(real);
        real.close = async (graceMs) => {
          await close(graceMs);
          throw new Error('cannot close');
        };
        return Promise.resolve(real);
      },
    }));
    const it = attempt();
    await opened(it);
    await expect(it.close(0)).rejects.toThrow('cannot close');
    expect(links[0]?.releases).toHaveLength(1);
  });

  it('names what prevented it', async () => {
    const { attempt } = workshop(() => ({
      connect: () => Promise.reject(new Error('no such program')),
    }));
    const it = attempt();
    expect(await failureOf(it.open(never))).toMatchObject({
      code: 'internal',
      server: 's',
      connection: 's#0',
    });
    await it.close(0);
  });
});

describe('the watch of an attempt', () => {
  it('tells a loss that was there before anybody watched, and none after its end', async () => {
    const { attempt, peer } = workshop();
    const it = attempt();
    await opened(it);
    peer.close();
    const heard: TroupeError[] = [];
    await until(() => {
      it.watch((error) => heard.push(error))();
      return heard.length > 0;
    }, 'the loss to be told');
    expect(heard[0]).toMatchObject({ code: 'connection_lost' });
    it.reportLost(new TroupeError('connection_lost', 'once more'));
    expect(heard.map(({ message }) => message)).not.toContainEqual(expect.stringContaining('once more'));
    await it.close(0);
  });
});
