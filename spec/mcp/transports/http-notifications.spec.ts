import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createStreamableHttpChannel } from '../../../lib/mcp/transports/streamable-http.ts';
import {
  createHttpFixture,
  createPlanClock,
  event,
  handshake,
  legacy,
  openChannel,
  stream,
  text,
  type ChannelChange,
  type HttpFixture,
  type OpenChannel,
  type Script,
} from '../../support/http-fixture.ts';

const opened: (OpenChannel & { fixture: HttpFixture })[] = [];

async function open(
  get: Script,
  change?: ChannelChange,
  session: string | null = 'session-1',
): Promise<OpenChannel & { fixture: HttpFixture }> {
  const rest: Script = (seen, response) =>
    seen.method === 'GET' ? get(seen, response) : text(response, 200);
  const fixture = await createHttpFixture(legacy(rest, session));
  const pair = { ...(await openChannel(createStreamableHttpChannel, fixture.url, change)), fixture };
  opened.push(pair);
  await handshake(pair);
  return pair;
}

const gets = (fixture: HttpFixture): number => fixture.of('GET').length;

afterEach(async () => {
  for (const { channel, fixture } of opened.splice(0)) {
    await channel.close(0);
    await fixture.until(() => fixture.sockets === 0);
    await fixture.close();
  }
});

const change = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

describe('the notification stream', () => {
  it('is opened once the handshake is complete, and heard', async () => {
    const { receiver, fixture } = await open((_seen, response) => event(stream(response), change));
    await receiver.until(() => receiver.messages.length === 1);
    expect(receiver.messages).toEqual([change]);
    expect(fixture.of('GET')[0]?.headers).toMatchObject({
      accept: 'text/event-stream',
      'mcp-session-id': 'session-1',
      'mcp-protocol-version': '2025-11-25',
    });
  });

  it('is not asked for again where there is none (405)', async () => {
    const clock = createPlanClock();
    const { receiver, fixture } = await open((_seen, response) => text(response, 405), { clock });
    await fixture.until(() => gets(fixture) === 1);
    await clock.idle();
    await clock.advance(600_000);
    expect(gets(fixture)).toBe(1);
    expect(receiver.oddities).toEqual([]);
  });

  it('is opened again after a loss, from where it was', async () => {
    const clock = createPlanClock();
    const { receiver, fixture } = await open(
      (_seen, response) => {
        event(stream(response), change, { id: `e${gets(fixture)}`, retry: 400 });
        response.end();
      },
      { clock },
    );
    await receiver.until(() => receiver.messages.length === 1);
    expect(await clock.plan()).toBe(400);
    await clock.advance(400);
    await receiver.until(() => receiver.messages.length === 2);
    expect(fixture.of('GET').map((s) => s.headers['last-event-id'])).toEqual([undefined, 'e1']);
  });

  it('does not spin when the server ends it at once every time', async () => {
    const clock = createPlanClock();
    const { fixture } = await open(
      (_seen, response) => {
        stream(response).write('retry: 0\n\n');
        response.end();
      },
      { clock },
    );
    const delays: number[] = [];
    for (let round = 1; round <= 8; round += 1) {
      await fixture.until(() => gets(fixture) === round);
      delays.push(await clock.plan());
      await clock.advance(delays[round - 1] ?? 0);
    }
    expect(delays).toEqual([100, 100, 100, 1_100, 2_200, 4_400, 8_800, 17_600]);
  });

  it('counts a stream that lasted as a success', async () => {
    const clock = createPlanClock();
    const streams: ServerResponse[] = [];
    const { receiver } = await open(
      (_seen, response) => {
        streams.push(response);
        event(stream(response), change);
      },
      { clock, limits: { listenIdleMs: 0 } },
    );
    for (let round = 1; round <= 6; round += 1) {
      await receiver.until(() => receiver.messages.length === round);
      await clock.advance(20_000);
      streams[round - 1]?.end();
      expect(await clock.plan()).toBe(1_000);
      await clock.advance(1_000);
    }
  });

  it('is renewed after silence, which is no oddity once it has lasted', async () => {
    const clock = createPlanClock();
    const { fixture, receiver } = await open((_seen, response) => event(stream(response), change), {
      clock,
      limits: { listenIdleMs: 30_000 },
    });
    await receiver.until(() => receiver.messages.length === 1);
    await clock.advance(30_001);
    expect(await clock.plan()).toBe(0);
    await clock.advance(1);
    await fixture.until(() => gets(fixture) === 2);
    expect(receiver.oddities).toEqual([]);
  });

  it.each([
    ['says so where changes may have been missed', undefined, 1],
    ['says nothing where the server resumes after the last event', '7', 0],
  ])('once it is there again, %s', async (_what, id, gaps) => {
    const clock = createPlanClock();
    const { fixture, receiver } = await open(
      (_seen, response) => {
        const to = stream(response);
        if (id !== undefined) to.write(`id: ${id}\n`);
        event(to, change);
        if (gets(fixture) === 1) to.end();
      },
      { clock },
    );
    let told = 0;
    receiver.onGap = () => (told += 1);
    await receiver.until(() => receiver.messages.length === 1);
    await clock.advance(await clock.plan());
    await receiver.until(() => receiver.messages.length === 2);
    expect([gets(fixture), told]).toEqual([2, gaps]);
  });

  it.each([
    [409, 1_000],
    [503, 1_000],
  ])('is tried again after HTTP %i', async (status, expected) => {
    const clock = createPlanClock();
    const { fixture, receiver } = await open((_seen, response) => text(response, status), { clock });
    await receiver.until(() => receiver.oddities.length === 1);
    expect(await clock.plan()).toBe(expected);
    await clock.advance(expected);
    await fixture.until(() => gets(fixture) === 2);
  });

  it('waits as long as the server asks (Retry-After)', async () => {
    const clock = createPlanClock();
    const { receiver } = await open((_seen, response) => text(response, 429, '', { 'retry-after': '7' }), {
      clock,
    });
    await receiver.until(() => receiver.oddities.length === 1);
    expect(await clock.plan()).toBe(7_000);
  });

  it.each([
    [400, 'text/plain'],
    [501, 'text/plain'],
    [200, 'text/html'],
  ])('is given up and reported where it cannot be had: HTTP %i %s', async (status, type) => {
    const clock = createPlanClock();
    const { receiver, fixture } = await open(
      (_seen, response) => text(response, status, 'no', { 'content-type': type }),
      { clock },
    );
    await receiver.until(() => receiver.oddities.length === 1);
    await clock.idle();
    await clock.advance(600_000);
    expect(gets(fixture)).toBe(1);
  });

  it.each([
    [404, '<pre>Cannot GET /mcp</pre>'],
    [400, 'Invalid or missing session ID'],
  ])('is taken for not offered where none has stood: HTTP %i %s', async (status, body) => {
    const clock = createPlanClock();
    const { receiver, fixture } = await open((_seen, response) => text(response, status, body), { clock });
    await receiver.until(() => receiver.oddities.length === 1);
    await clock.idle();
    await clock.advance(600_000);
    expect([gets(fixture), receiver.closes.length]).toEqual([1, 0]);
  });

  it.each([404, 400, 401, 403, 408, 421, 425, 302, 499, 505, 200])(
    'is tried again, ever more slowly, once it has stood: HTTP %i',
    async (status) => {
      const clock = createPlanClock();
      const { receiver, fixture } = await open(
        (_seen, response) => {
          if (gets(fixture) === 1) stream(response).end();
          else if (gets(fixture) <= 6) text(response, status, 'session', { location: '/x' });
          else event(stream(response), change);
        },
        { clock },
      );
      const delays: number[] = [];
      for (let round = 1; round <= 6; round += 1) {
        await fixture.until(() => gets(fixture) === round);
        delays.push(await clock.plan());
        await clock.advance(delays[round - 1] ?? 0);
      }
      await receiver.until(() => receiver.messages.length === 1);
      expect(delays).toEqual([1_000, 1_000, 1_000, 1_100, 2_200, 4_400]);
      expect(receiver.closes).toEqual([]);
    },
  );

  it.each([405, 501])('is given up where the server has no such stream any more: HTTP %i', async (status) => {
    const clock = createPlanClock();
    const { fixture } = await open(
      (_seen, response) => {
        if (gets(fixture) === 1) stream(response).end();
        else text(response, status);
      },
      { clock },
    );
    await clock.advance(await clock.plan());
    await fixture.until(() => gets(fixture) === 2);
    await clock.idle();
    await clock.advance(600_000);
    expect(gets(fixture)).toBe(2);
  });

  it('has the lists asked for when it hears that the session is gone, since a POST is to tell that', async () => {
    const clock = createPlanClock();
    const { fixture, receiver } = await open(
      (_seen, response) => {
        if (gets(fixture) === 1) stream(response).end();
        else text(response, 404);
      },
      { clock },
    );
    let gaps = 0;
    receiver.onGap = () => (gaps += 1);
    await clock.advance(await clock.plan());
    await clock.plan();
    expect([gaps, receiver.closes.length]).toEqual([1, 0]);
  });

  it('says that changes may have been missed where the first one stood only after failures', async () => {
    const clock = createPlanClock();
    const { fixture, receiver } = await open(
      (_seen, response) => {
        if (gets(fixture) === 1) text(response, 503);
        else event(stream(response), change);
      },
      { clock },
    );
    let gaps = 0;
    receiver.onGap = () => (gaps += 1);
    await clock.advance(await clock.plan());
    await receiver.until(() => receiver.messages.length === 1);
    expect(gaps).toBe(1);
  });

  it('says nothing of the kind where the first one stood at once', async () => {
    const { receiver } = await open((_seen, response) => event(stream(response), change));
    let gaps = 0;
    receiver.onGap = () => (gaps += 1);
    await receiver.until(() => receiver.messages.length === 1);
    expect(gaps).toBe(0);
  });

  it('is renewed at once where its head does not come before the first event, and then the gap is told', async () => {
    const clock = createPlanClock();
    const held: ServerResponse[] = [];
    const { fixture, receiver } = await open((_seen, response) => void held.push(response), {
      clock,
      limits: { listenIdleMs: 30_000 },
    });
    let gaps = 0;
    receiver.onGap = () => (gaps += 1);
    for (let round = 1; round <= 5; round += 1) {
      await fixture.until(() => gets(fixture) === round);
      expect(gaps).toBe(round - 1);
      await clock.advance(30_011);
      expect(await clock.plan()).toBe(0);
      await clock.advance(0);
      expect(await clock.plan()).toBe(1_000);
      await clock.advance(1_000);
    }
    await fixture.until(() => gets(fixture) === 6);
    expect([gaps, receiver.oddities.length]).toEqual([5, 0]);
    // Its head is no news after that.
    event(stream(held[5] as ServerResponse), change);
    await receiver.until(() => receiver.messages.length === 1);
    expect(gaps).toBe(5);
  });

  it('waits for credentials that cannot be had now, and asks for them again', async () => {
    const clock = createPlanClock();
    let token = 'old';
    let broken = true;
    let asked = 0;
    const { fixture, receiver } = await open(
      (seen, response) => {
        if (seen.headers.authorization !== 'Bearer new') text(response, 401);
        else event(stream(response), change);
      },
      {
        clock,
        credentials: {
          headers: () => ({ authorization: `Bearer ${token}` }),
          refused: () => {
            asked += 1;
            if (broken) return Promise.reject(new Error('the token service is down'));
            token = 'new';
            return Promise.resolve(true);
          },
        },
      },
    );
    for (let round = 1; round <= 3; round += 1) {
      expect(await clock.plan()).toBe(1_000);
      if (round === 3) broken = false;
      await clock.advance(1_000);
    }
    await receiver.until(() => receiver.messages.length === 1);
    expect([asked, gets(fixture)]).toEqual([4, 5]);
  });

  it('takes along the credentials that others have obtained, once it has stood', async () => {
    const clock = createPlanClock();
    let token = 'old';
    let wanted = 'old';
    const { fixture, receiver } = await open(
      (seen, response) => {
        if (seen.headers.authorization !== `Bearer ${wanted}`) text(response, 401);
        else if (gets(fixture) === 1) stream(response).end();
        else event(stream(response), change);
      },
      {
        clock,
        credentials: {
          headers: () => ({ authorization: `Bearer ${token}` }),
          refused: () => Promise.resolve(false),
        },
      },
    );
    const first = await clock.plan();
    wanted = 'new';
    await clock.advance(first);
    const second = await clock.plan();
    token = 'new';
    await clock.advance(second);
    await receiver.until(() => receiver.messages.length === 1);
    expect(gets(fixture)).toBe(3);
  });

  it('does not take a 404 for that without a session', async () => {
    const { receiver } = await open((_seen, response) => text(response, 404), {}, null);
    await receiver.until(() => receiver.oddities.length === 1);
    expect(receiver.closes).toEqual([]);
  });

  it('asks the credentials once', async () => {
    let granted = 0;
    const { receiver, fixture } = await open((_seen, response) => text(response, 401), {
      credentials: {
        headers: () => undefined,
        refused: () => {
          granted += 1;
          return Promise.resolve(true);
        },
      },
    });
    await receiver.until(() => receiver.oddities.length === 1);
    expect(receiver.oddities).toMatchObject([{ code: 'auth_required' }]);
    expect([granted, gets(fixture)]).toEqual([1, 2]);
  });

  it('starts without its last id after an event that was too large', async () => {
    const clock = createPlanClock();
    const { receiver, fixture } = await open(
      (_seen, response) => {
        event(stream(response), change, { id: 'e1' });
        response.write(`data: ${'x'.repeat(2_000)}`);
      },
      { clock, limits: { messageBytes: 1_000 } },
    );
    await receiver.until(() => receiver.oddities.length === 1);
    expect(receiver.oddities).toMatchObject([{ code: 'limit_exceeded' }]);
    await clock.advance(await clock.plan());
    await fixture.until(() => gets(fixture) === 2);
    expect(fixture.of('GET')[1]?.headers).not.toHaveProperty('last-event-id');
  });

  it('ends with the channel, also between two attempts', async () => {
    const clock = createPlanClock();
    const { channel, fixture } = await open((_seen, response) => stream(response).end(), { clock });
    await clock.plan();
    await channel.close(0);
    expect(clock.armed).toBe(0);
    await clock.advance(600_000);
    expect(gets(fixture)).toBe(1);
  });
});
