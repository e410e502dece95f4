import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createSseChannel } from '../../../lib/mcp/transports/sse.ts';
import { createRecordingReceiver } from '../../support/recording-receiver.ts';
import {
  createHttpFixture,
  event,
  failure,
  openChannel,
  optionsFor,
  request,
  stream,
  text,
  type ChannelChange,
  type HttpFixture,
  type OpenChannel,
  type Script,
  type Seen,
} from '../../support/http-fixture.ts';

const channels: OpenChannel['channel'][] = [];
const fixtures: HttpFixture[] = [];

interface SseFixture extends HttpFixture {
  readonly streams: ServerResponse[];
}

/** Answers the GET with an endpoint and POSTs with 202; `post` says more on the stream. */
async function serve(
  post: (seen: Seen, response: ServerResponse, out: ServerResponse) => void,
  endpoint: string | undefined = '/messages?id=7',
): Promise<SseFixture> {
  const streams: ServerResponse[] = [];
  const fixture = await createHttpFixture((seen, response) => {
    if (seen.method === 'GET') {
      streams.push(stream(response));
      if (endpoint !== '') response.write(`event: endpoint\ndata: ${endpoint}\n\n`);
    } else post(seen, response, streams.at(-1) as ServerResponse);
  });
  fixtures.push(fixture);
  return Object.assign(fixture, { streams });
}

async function serveScript(script: Script): Promise<HttpFixture> {
  const fixture = await createHttpFixture(script);
  fixtures.push(fixture);
  return fixture;
}

async function open(url: URL, change?: ChannelChange): Promise<OpenChannel> {
  const pair = await openChannel(createSseChannel, url, change);
  channels.push(pair.channel);
  return pair;
}

/** Opens what cannot be opened. */
async function openingFailure(url: URL, change?: ChannelChange): Promise<{ error: Error; closes: number }> {
  const channel = createSseChannel(optionsFor(url, change));
  channels.push(channel);
  const receiver = createRecordingReceiver();
  const error = await failure(channel.open(receiver));
  return { error, closes: receiver.closes.length };
}

afterEach(async () => {
  for (const channel of channels.splice(0)) await channel.close(0);
  for (const fixture of fixtures.splice(0)) {
    await fixture.until(() => fixture.sockets === 0);
    await fixture.close();
  }
});

const accept = (response: ServerResponse): void => text(response, 202, 'Accepted');

describe('HTTP+SSE', () => {
  it('posts to the endpoint and hears answers on the stream', async () => {
    const { url, seen } = await serve((entry, response, out) => {
      accept(response);
      event(out, { jsonrpc: '2.0', method: 'notifications/message', params: {} });
      event(out, { jsonrpc: '2.0', id: entry.body?.id, result: { ok: true } });
    });
    const { channel, receiver } = await open(url, { headers: { 'x-api-key': 'k' } });
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 2);
    expect(receiver.messages[1]).toEqual({ jsonrpc: '2.0', id: 1, result: { ok: true } });
    expect(seen.map((s) => `${s.method} ${s.path} ${String(s.headers['x-api-key'])}`)).toEqual([
      'GET /mcp k',
      'POST /messages?id=7 k',
    ]);
    expect([channel.kind, channel.streamPerRequest, channel.sessionId]).toEqual(['sse', false, undefined]);
  });

  it('sends the negotiated revision', async () => {
    const { url, seen } = await serve((_entry, response) => accept(response));
    const { channel } = await open(url);
    channel.setProtocolVersion('2024-11-05');
    await channel.send(request(1));
    expect(seen[1]?.headers['mcp-protocol-version']).toBe('2024-11-05');
  });

  it.each([
    ['an endpoint of another origin', 'http://example.com/messages', /example\.com, which is not the origin/],
    ['another port', 'http://127.0.0.1:1/messages', /not the origin/],
    ['something that is no URL', 'http://[', /holds no URL/],
  ])('refuses %s', async (_name, endpoint, expected) => {
    const { url } = await serve(() => {}, endpoint);
    const { error, closes } = await openingFailure(url);
    expect(error).toMatchObject({ code: 'invalid_response', delivery: 'unsent' });
    expect(error.message).toMatch(expected);
    expect(closes).toBe(0);
  });

  it('does not wait for ever for the endpoint', async () => {
    const { url } = await serve(() => {}, '');
    const { error } = await openingFailure(url, { limits: { requestIdleMs: 80 } });
    expect(error).toMatchObject({ code: 'connection_lost', delivery: 'unsent' });
    expect(error.message).toContain('silent for 80 ms');
  });

  it.each([
    [404, 'text/plain', { code: 'protocol_error', data: { status: 404, text: 'no' } }],
    [401, 'text/plain', { code: 'auth_required' }],
    [503, 'text/plain', { code: 'unavailable', delivery: 'unsent' }],
    [200, 'text/html', { code: 'invalid_response' }],
    [307, 'text/plain', { code: 'protocol_error' }],
  ])('reports a stream that is not there: HTTP %i %s', async (status, type, expected) => {
    const { url } = await serveScript((_seen, response) =>
      text(response, status, 'no', { 'content-type': type, location: '/other' }),
    );
    expect((await openingFailure(url)).error).toMatchObject({ ...expected, delivery: 'unsent' });
  });

  it('reports a server that is not there', async () => {
    const fixture = await createHttpFixture(() => {});
    await fixture.close();
    expect((await openingFailure(fixture.url)).error).toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
    });
  });

  it.each(['end', 'destroy'] as const)('takes a lost stream (%s) for a lost session', async (how) => {
    const { url, streams, seen } = await serve((_seen, response) => accept(response));
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    streams[0]?.[how]();
    await receiver.until(() => receiver.closes.length === 1);
    expect(receiver.closes).toMatchObject([{ code: 'connection_lost', delivery: 'sent' }]);
    expect(() => channel.send(request(2))).toThrow('closed');
    expect(seen.filter((s) => s.method === 'GET')).toHaveLength(1);
  });

  it('hands on the refusal of a message', async () => {
    const { url } = await serve((_seen, response) =>
      text(response, 429, 'slow down', { 'retry-after': '2' }),
    );
    const { channel, receiver } = await open(url);
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'rate_limited',
      delivery: 'unsent',
      retryAfterMs: 2_000,
    });
    expect(receiver.closes).toEqual([]);
  });

  it('learns from a 404 that the session is gone', async () => {
    const { url } = await serve((_seen, response) => text(response, 404, 'Session not found'));
    const { channel, receiver } = await open(url);
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'connection_lost',
      delivery: 'unsent',
      data: { reason: 'session_expired' },
    });
    await receiver.until(() => receiver.closes.length === 1);
  });

  it('drops late, doubled and foreign answers', async () => {
    const { url } = await serve((entry, response, out) => {
      accept(response);
      if (entry.body?.id !== 2) return;
      for (const id of [1, 2, 2, 99]) event(out, { jsonrpc: '2.0', id, result: {} });
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    channel.forget(1);
    await channel.send(request(2));
    await receiver.until(() => receiver.oddities.length === 3);
    expect(receiver.messages).toEqual([{ jsonrpc: '2.0', id: 2, result: {} }]);
  });

  it('ends a request whose answer is malformed', async () => {
    const { url } = await serve((_seen, response, out) => {
      accept(response);
      event(out, { jsonrpc: '2.0', id: 1, result: 7 });
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'invalid_response' }]]);
  });

  it('closes when an event is too large', async () => {
    const { url, streams } = await serve((_seen, response) => accept(response));
    const { receiver } = await open(url, { limits: { messageBytes: 1_000 } });
    streams[0]?.write(`data: ${'x'.repeat(2_000)}`);
    await receiver.until(() => receiver.closes.length === 1);
    expect(receiver.closes).toMatchObject([{ code: 'limit_exceeded', server: 'alpha' }]);
  });

  it('asks the credentials once, for the stream and for a message', async () => {
    let token = 0;
    const fixture = await serveScript((seen, response) => {
      const wanted = seen.method === 'GET' ? 1 : 2;
      if (seen.headers.authorization !== `Bearer ${wanted}`) text(response, 401);
      else if (seen.method === 'GET') stream(response).write('event: endpoint\ndata: messages\n\n');
      else accept(response);
    });
    const { channel } = await open(fixture.url, {
      credentials: {
        headers: () => ({ authorization: `Bearer ${token}` }),
        refused: () => Promise.resolve(++token > 0),
      },
    });
    await channel.send(request(1));
    expect(fixture.seen.map((s) => `${s.method} ${String(s.headers.authorization)}`)).toEqual([
      'GET Bearer 0',
      'GET Bearer 1',
      'POST Bearer 1',
      'POST Bearer 2',
    ]);
  });

  it('shows the credentials each head, and sends again for the sake of a nonce, once for the stream and once for a message', async () => {
    const asked: Array<string | undefined> = [];
    const fixture = await serveScript((seen, response) => {
      const nonce = seen.headers['x-nonce'] as string | undefined;
      const wanted = seen.method === 'GET' ? 'n1' : seen.body?.id === 1 ? 'n2' : 'n3';
      asked.push(nonce);
      if (nonce !== wanted) text(response, 401, '', { 'x-next': wanted });
      else if (seen.method === 'GET') {
        response.setHeader('x-next', 'n2');
        stream(response).write('event: endpoint\ndata: messages\n\n');
      } else accept(response);
    });
    let nonce: string | undefined;
    let refusals = 0;
    const { channel } = await open(fixture.url, {
      credentials: {
        headers: () => (nonce === undefined ? undefined : { 'x-nonce': nonce }),
        answered: (_status, headers) => {
          const next = headers['x-next'];
          if (typeof next === 'string') nonce = next;
          return typeof next === 'string';
        },
        refused: () => {
          refusals += 1;
          return Promise.resolve(false);
        },
      },
    });
    await channel.send(request(1));
    await channel.send(request(2));
    // Refused for a nonce, the stream; at once with the one that its head brought; refused for another.
    expect(asked).toEqual([undefined, 'n1', 'n2', 'n2', 'n3']);
    expect(refusals).toBe(0);
  });

  it('asks the credentials where nonces do not help', async () => {
    const fixture = await serve((_seen, response) => text(response, 401, '', { 'x-next': 'n' }));
    let refusals = 0;
    const { channel } = await open(fixture.url, {
      credentials: {
        headers: () => undefined,
        answered: (_status, headers) => headers['x-next'] !== undefined,
        refused: () => {
          refusals += 1;
          return Promise.resolve(refusals === 1);
        },
      },
    });
    expect(await failure(channel.send(request(1)))).toMatchObject({ code: 'auth_required' });
    expect(refusals).toBe(1);
    expect(fixture.of('POST')).toHaveLength(3);
  });

  it('closes while it opens, while it sends, and twice', async () => {
    const { url } = await serve(() => {}, '');
    const opening = createSseChannel(optionsFor(url));
    const refused = failure(opening.open(createRecordingReceiver()));
    await opening.close(0);
    expect(await refused).toMatchObject({ code: 'connection_lost', delivery: 'unsent' });

    const second = await serve(() => {});
    const { channel, receiver } = await open(second.url);
    const sending = failure(channel.send(request(1)));
    await second.until(() => second.of('POST').length === 1);
    await Promise.all([channel.close(0), channel.close(0)]);
    expect(await sending).toMatchObject({ code: 'connection_lost', delivery: 'sent' });
    expect(receiver.closes).toHaveLength(1);
  });

  it('answers to the server pass although every request socket is taken', async () => {
    const fixture = await serve((seen, response) => void (seen.body?.id !== 1 && accept(response)));
    const { channel } = await open(fixture.url, { connections: 1 });
    const stuck = failure(channel.send(request(1)));
    await channel.send({ jsonrpc: '2.0', id: 'from-server', result: {} });
    expect(fixture.of('POST').map((s) => s.body?.id)).toEqual([1, 'from-server']);
    await channel.close(0);
    expect(await stuck).toMatchObject({ delivery: 'sent' });
  });
});
