import { afterEach, describe, expect, it } from '@jest/globals';
import { createStreamableHttpChannel } from '../../../lib/mcp/transports/streamable-http.ts';
import {
  createHttpFixture,
  createPlanClock,
  event,
  handshake,
  json,
  legacy,
  modern,
  openChannel,
  request,
  result,
  stream,
  text,
  type ChannelChange,
  type HttpFixture,
  type OpenChannel,
  type Script,
} from '../../support/http-fixture.ts';

const opened: (OpenChannel & { fixture: HttpFixture })[] = [];

/** A legacy session whose notification stream is not offered; GETs with `last-event-id` reach `rest`. */
async function open(rest: Script, change?: ChannelChange): Promise<OpenChannel & { fixture: HttpFixture }> {
  const fixture = await createHttpFixture(
    legacy((seen, response) => {
      if (seen.method === 'DELETE' || (seen.method === 'GET' && seen.headers['last-event-id'] === undefined))
        text(response, 405);
      else rest(seen, response);
    }),
  );
  const pair = { ...(await openChannel(createStreamableHttpChannel, fixture.url, change)), fixture };
  opened.push(pair);
  await handshake(pair);
  return pair;
}

const resumes = (fixture: HttpFixture): HttpFixture['seen'] =>
  fixture.of('GET').filter((s) => s.headers['last-event-id'] !== undefined);

afterEach(async () => {
  for (const { channel, fixture } of opened.splice(0)) {
    await channel.close(0);
    await fixture.close();
  }
});

describe('a broken response stream', () => {
  it('is resumed where the server gave an id, after the time it asked for', async () => {
    let endedAt = 0;
    const { channel, receiver, fixture } = await open((seen, response) => {
      if (seen.method === 'GET') {
        stream(response);
        event(
          response,
          { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 1 } },
          { id: 'e2' },
        );
        event(response, { jsonrpc: '2.0', id: 1, result: { resumed: true } }, { id: 'e3' });
        response.end();
      } else {
        stream(response);
        event(response, '', { id: 'e1', retry: 300 });
        response.end(() => (endedAt = performance.now()));
      }
    });
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 2);
    const [resume] = resumes(fixture);
    expect(resume?.headers).toMatchObject({
      'last-event-id': 'e1',
      'mcp-session-id': 'session-1',
      accept: 'text/event-stream',
    });
    // The official suite allows 50 ms early and 200 ms late; a busy machine may be later still.
    expect((resume?.at ?? 0) - endedAt).toBeGreaterThan(250);
    expect((resume?.at ?? 0) - endedAt).toBeLessThan(1_800);
    expect(receiver.unanswered).toEqual([]);
    await fixture.until(() => fixture.open === 0);
    expect(resumes(fixture)).toHaveLength(1);
  });

  it('is resumed again from the last id, until the answer comes', async () => {
    const clock = createPlanClock();
    let rounds = 0;
    const { channel, receiver, fixture } = await open(
      (seen, response) => {
        stream(response);
        if (seen.method === 'POST') event(response, '', { id: 'e0', retry: 100 });
        else if (++rounds < 5) event(response, '', { id: `e${rounds}` });
        else event(response, { jsonrpc: '2.0', id: 1, result: {} });
        response.end();
      },
      { clock },
    );
    await channel.send(request(1));
    for (let round = 1; round <= 5; round += 1) {
      await clock.advance(await clock.plan());
      await fixture.until(() => resumes(fixture).length === round);
    }
    await receiver.until(() => receiver.messages.length === 1);
    expect(resumes(fixture).map((s) => s.headers['last-event-id'])).toEqual(['e0', 'e1', 'e2', 'e3', 'e4']);
  });

  it('does not spin when the server ends it at once every time: three times promptly, then once a second', async () => {
    const clock = createPlanClock();
    let id = 0;
    const { channel, receiver, fixture } = await open(
      (_seen, response) => {
        event(stream(response), '', { id: `e${++id}`, retry: 0 });
        response.end();
      },
      { clock },
    );
    await channel.send(request(1));
    const gaps: number[] = [];
    for (let round = 1; round <= 8; round += 1) {
      gaps.push(await clock.plan());
      await clock.advance(gaps[round - 1] ?? 0);
      await fixture.until(() => resumes(fixture).length === round);
    }
    expect(gaps).toEqual([100, 100, 100, 1_100, 1_100, 1_100, 1_100, 1_100]);
    channel.forget(1);
    await fixture.until(() => fixture.open === 0);
    expect(clock.armed).toBe(0);
    await clock.advance(60_000);
    expect(resumes(fixture)).toHaveLength(8);
    expect(receiver.unanswered).toEqual([]);
  });

  const refusedWith = (status: number): Promise<OpenChannel & { fixture: HttpFixture }> =>
    open((seen, response) => {
      if (seen.method === 'GET') text(response, status, 'no');
      else {
        event(stream(response), '', { id: 'e1', retry: 100 });
        response.end();
      }
    });

  it.each([405, 400, 410])('is over when resuming is refused with HTTP %i', async (status) => {
    const { channel, receiver } = await refusedWith(status);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length > 0);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'connection_lost', delivery: 'sent' }]]);
    expect(receiver.closes).toEqual([]);
  });

  it('learns from HTTP 404 that the session is gone', async () => {
    const { channel, receiver } = await refusedWith(404);
    await channel.send(request(1));
    await receiver.until(() => receiver.closes.length > 0);
    expect(receiver.closes).toMatchObject([{ data: { reason: 'session_expired' } }]);
  });

  it('is given up after three failed attempts in a row', async () => {
    const clock = createPlanClock();
    const { channel, receiver, fixture } = await open(
      (seen, response) => {
        if (seen.method === 'GET') text(response, 503);
        else {
          event(stream(response), '', { id: 'e1', retry: 100 });
          response.end();
        }
      },
      { clock },
    );
    await channel.send(request(1));
    for (let round = 1; round <= 3; round += 1) {
      await clock.advance(await clock.plan());
      await fixture.until(() => resumes(fixture).length === round);
    }
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'connection_lost', delivery: 'sent' }]]);
    expect(clock.armed).toBe(0);
  });

  it('is not resumed in the modern era', async () => {
    const fixture = await createHttpFixture((_seen, response) => {
      event(stream(response), '', { id: 'e1', retry: 100 });
      response.end();
    });
    const pair = { ...(await openChannel(createStreamableHttpChannel, fixture.url)), fixture };
    opened.push(pair);
    pair.channel.setProtocolVersion('2026-07-28');
    await pair.channel.send(request(1, 'tools/call', modern({ name: 'x' })));
    await pair.receiver.until(() => pair.receiver.unanswered.length === 1);
    expect(fixture.seen).toHaveLength(1);
  });

  it('is not resumed once its answer has come, or its request was forgotten while it waits', async () => {
    const clock = createPlanClock();
    const { channel, receiver, fixture } = await open(
      (seen, response) => {
        stream(response);
        event(response, '', { id: 'e1', retry: 100 });
        if (seen.body?.id === 1) event(response, result(seen));
        response.end();
      },
      { clock },
    );
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 1);
    await channel.send(request(2));
    await clock.plan();
    channel.forget(2);
    await clock.advance(10_000);
    expect(resumes(fixture)).toEqual([]);
    expect(clock.armed).toBe(0);
  });

  it('leaves nothing armed when the channel closes', async () => {
    const clock = createPlanClock();
    const { channel } = await open(
      (_seen, response) => {
        event(stream(response), '', { id: 'e1', retry: 5_000 });
        response.end();
      },
      { clock },
    );
    await channel.send(request(1));
    await clock.plan();
    await channel.close(0);
    expect(clock.armed).toBe(0);
  });
});

describe('an answer on the notification stream', () => {
  it('is taken for a request that is still open', async () => {
    const fixture = await createHttpFixture(
      legacy((seen, response) => {
        if (seen.method === 'GET') {
          stream(response);
          setTimeout(() => event(response, { jsonrpc: '2.0', id: 1, result: { late: true } }), 50);
        } else if (seen.method === 'POST') stream(response);
        else json(response, {});
      }),
    );
    const pair = { ...(await openChannel(createStreamableHttpChannel, fixture.url)), fixture };
    opened.push(pair);
    await handshake(pair);
    await pair.channel.send(request(1));
    await pair.receiver.until(() => pair.receiver.messages.length === 1);
    expect(pair.receiver.messages[0]).toMatchObject({ id: 1, result: { late: true } });
  });
});
