import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import type { TroupeError } from '../../../lib/core/errors.ts';
import { createStreamableHttpChannel } from '../../../lib/mcp/transports/streamable-http.ts';
import {
  INITIALIZE,
  createHttpFixture,
  event,
  failure,
  handshake,
  json,
  legacy,
  modern,
  notOffered,
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

const opened: OpenChannel[] = [];
const fixtures: HttpFixture[] = [];

async function serve(script: Script): Promise<HttpFixture> {
  const fixture = await createHttpFixture(script);
  fixtures.push(fixture);
  return fixture;
}

async function open(url: URL, change?: ChannelChange): Promise<OpenChannel> {
  const pair = await openChannel(createStreamableHttpChannel, url, change);
  opened.push(pair);
  return pair;
}

async function openLegacy(
  rest: Script,
  change?: ChannelChange,
): Promise<OpenChannel & { fixture: HttpFixture }> {
  const fixture = await serve(legacy(rest));
  const pair = await open(fixture.url, change);
  await handshake(pair);
  return { ...pair, fixture };
}

async function loopback(answer: string): Promise<{ url: URL; close: () => void }> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(answer));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
    close: () => server.close(),
  };
}

afterEach(async () => {
  for (const { channel } of opened.splice(0)) await channel.close(0);
  for (const fixture of fixtures.splice(0)) {
    // Whatever a spec did, a closed channel leaves no socket behind.
    await fixture.until(() => fixture.sockets === 0);
    await fixture.close();
  }
});

const ok: Script = (seen, response) => json(response, result(seen, { ok: true }));

describe('answers', () => {
  it('come as JSON', async () => {
    const { url } = await serve(ok);
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 1);
    expect(receiver.messages).toEqual([{ jsonrpc: '2.0', id: 1, result: { ok: true } }]);
  });

  it('come as an event stream, after what belongs to the request', async () => {
    const { url } = await serve((seen, response) => {
      stream(response);
      event(response, {
        jsonrpc: '2.0',
        method: 'notifications/progress',
        params: { progressToken: 1, progress: 1 },
      });
      event(response, { jsonrpc: '2.0', id: 9, method: 'ping' });
      event(response, result(seen, { ok: true }));
      response.end();
    });
    const { channel, receiver } = await open(url);
    await channel.send(request('a'));
    await receiver.until(() => receiver.messages.length === 3);
    expect(receiver.messages.map((m) => ('method' in m ? m.method : m.id))).toEqual([
      'notifications/progress',
      'ping',
      'a',
    ]);
  });

  it('are awaited once: an id under way is refused, and free again after its answer', async () => {
    const { url } = await serve((seen, response) => void setTimeout(() => ok(seen, response), 20));
    const { channel, receiver } = await open(url);
    const first = channel.send(request(7));
    expect(() => channel.send(request(7))).toThrow('a request with id 7 is already under way');
    await first;
    await receiver.until(() => receiver.messages.length === 1);
    await channel.send(request(7));
    await receiver.until(() => receiver.messages.length === 2);
    expect(fixtures[0]?.seen).toHaveLength(2);
  });

  it('of many requests reach each its own', async () => {
    const { url } = await serve((seen, response) => {
      setImmediate(() => json(response, result(seen, { said: seen.body?.params?.['name'] })));
    });
    const { channel, receiver } = await open(url, { connections: 8 });
    const ids = Array.from({ length: 100 }, (_, i) => i);
    await Promise.all(ids.map(async (id) => channel.send(request(id, 'tools/call', { name: `n${id}` }))));
    await receiver.until(() => receiver.messages.length === 100);
    for (const message of receiver.messages) {
      expect(message).toMatchObject({ result: { said: `n${(message as { id: number }).id}` } });
    }
    expect(fixtures[0]?.sockets).toBeLessThanOrEqual(8);
  });

  it.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
  ] as const)('are read although nobody asked for %s', async (encoding, compress) => {
    const { url } = await serve((seen, response) => {
      const body = compress(Buffer.from(JSON.stringify(result(seen, { long: 'x'.repeat(50_000) }))));
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding }).end(body);
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 1);
    expect(receiver.messages[0]).toMatchObject({ id: 1, result: { long: 'x'.repeat(50_000) } });
    expect(fixtures[0]?.seen[0]?.headers['accept-encoding']).toBe('identity');
  });

  it('on a stream answer requests of that stream only', async () => {
    let first: ServerResponse | undefined;
    const { url } = await serve((seen, response) => {
      stream(response);
      if (first === undefined) first = response;
      else {
        event(response, { jsonrpc: '2.0', id: 1, result: { forged: true } });
        event(response, result(seen, { own: true }));
        event(response, result(seen, { twice: true }));
        response.end();
        event(first, { jsonrpc: '2.0', id: 1, result: { own: true } });
        first.end();
      }
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await channel.send(request(2));
    await receiver.until(() => receiver.messages.length === 2 && receiver.oddities.length === 2);
    expect(receiver.messages.map((m) => ('result' in m ? m.result : m))).toEqual([
      { own: true },
      { own: true },
    ]);
    expect(receiver.oddities.map((e) => e.code)).toEqual(['invalid_response', 'invalid_response']);
  });

  it('do not confuse the id 1 with the id "1"', async () => {
    const { url } = await serve((seen, response) =>
      json(response, { jsonrpc: '2.0', id: String(seen.body?.id), result: {} }),
    );
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.messages).toEqual([]);
    expect(receiver.unanswered[0]?.[1]).toMatchObject({ code: 'invalid_response', delivery: 'answered' });
  });

  it('with an error status are answers when they carry our id', async () => {
    const { url } = await serve((seen, response) =>
      json(
        response,
        {
          jsonrpc: '2.0',
          id: seen.body?.id,
          error: { code: -32022, message: 'version', data: { supported: [] } },
        },
        400,
      ),
    );
    const { channel, receiver } = await open(url);
    await channel.send(request(1, 'server/discover', modern()));
    expect(receiver.messages).toEqual([
      { jsonrpc: '2.0', id: 1, error: { code: -32022, message: 'version', data: { supported: [] } } },
    ]);
  });
});

describe('headers', () => {
  it('of the legacy era: session and revision after the handshake, never with it', async () => {
    const { channel, fixture, receiver } = await openLegacy(
      (seen, response) => {
        if (!notOffered(seen, response)) ok(seen, response);
      },
      { headers: { 'X-Api-Key': 'k1', Accept: 'text/html' } },
    );
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 1);
    const [opening, initialized, call] = fixture.of('POST').map((s) => s.headers);
    expect(opening).toMatchObject({
      'x-api-key': 'k1',
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'user-agent': 'mcp-troupe',
    });
    expect(opening).not.toHaveProperty('mcp-session-id');
    expect(opening).not.toHaveProperty('mcp-protocol-version');
    for (const headers of [initialized, call]) {
      expect(headers).toMatchObject({
        'mcp-session-id': 'session-1',
        'mcp-protocol-version': '2025-11-25',
        'x-api-key': 'k1',
      });
      expect(headers).not.toHaveProperty('mcp-method');
    }
    expect(channel.sessionId).toBe('session-1');
  });

  it('of the modern era mirror what the message itself says', async () => {
    const { url } = await serve(ok);
    const { channel } = await open(url);
    await channel.send(request(1, 'tools/call', modern({ name: 'zähler' })));
    await channel.send(request(2, 'resources/read', modern({ uri: 'file:///a' })), {
      headers: {
        'Mcp-Method': 'resources/read',
        'Mcp-Name': 'given',
        'Mcp-Param-Region': 'eu',
        Authorization: 'no',
      },
    });
    await channel.send(request(3, 'tools/list', modern()));
    const [call, read, list] = fixtures[0]?.seen.map((s) => s.headers) ?? [];
    expect(call).toMatchObject({
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': `=?base64?${Buffer.from('zähler').toString('base64')}?=`,
    });
    expect(read).toMatchObject({
      'mcp-method': 'resources/read',
      'mcp-name': 'given',
      'mcp-param-region': 'eu',
    });
    expect(read).not.toHaveProperty('authorization');
    expect(list).toMatchObject({ 'mcp-method': 'tools/list' });
    expect(list).not.toHaveProperty('mcp-name');
  });

  it('of the URL: user and password become basic authorization and are not in errors', async () => {
    const { url } = await serve((_seen, response) => text(response, 500));
    url.username = 'me';
    url.password = 's3cret';
    const { channel } = await open(url);
    const error = await failure(channel.send(request(1)));
    expect(fixtures[0]?.seen[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from('me:s3cret').toString('base64')}`,
    );
    expect(JSON.stringify(error)).not.toContain('s3cret');
  });

  it('with a session id that is not visible ASCII refuse the opening', async () => {
    const { url } = await serve((seen, response) =>
      json(response, result(seen), 200, { 'mcp-session-id': 'a b' }),
    );
    const { channel } = await open(url);
    expect(await failure(channel.send(INITIALIZE))).toMatchObject({ code: 'invalid_response' });
  });

  it.each([
    ['transfer-encoding', 'chunked'],
    ['x-bad', 'a\nb'],
    ['bad name', 'x'],
  ])('that cannot be sent are a configuration error: %s', (name, value) => {
    const create = (): unknown => createStreamableHttpChannel({ ...baseOptions, headers: { [name]: value } });
    expect(create).toThrow(expect.objectContaining({ code: 'config_invalid', server: 'alpha' }));
    expect(create).toThrow(`headers.${name}`);
  });
});

const baseOptions = {
  url: new URL('http://127.0.0.1:1/'),
  server: 'alpha',
  limits: {} as never,
  clock: { now: () => 0 } as never,
  random: () => 0,
};

describe('refusals', () => {
  const cases: [number, Record<string, string>, Partial<TroupeError>][] = [
    [400, {}, { code: 'protocol_error', delivery: 'answered' }],
    [
      401,
      { 'www-authenticate': 'Bearer realm="x"' },
      {
        code: 'auth_required',
        delivery: 'unsent',
        data: { status: 401, text: 'no', wwwAuthenticate: 'Bearer realm="x"' },
      },
    ],
    [403, {}, { code: 'auth_required', delivery: 'unsent' }],
    [404, {}, { code: 'protocol_error', delivery: 'answered', data: { status: 404, text: 'no' } }],
    [408, {}, { code: 'unavailable', delivery: 'sent' }],
    [413, {}, { code: 'protocol_error', delivery: 'answered' }],
    [429, { 'retry-after': '3' }, { code: 'rate_limited', delivery: 'unsent', retryAfterMs: 3_000 }],
    [429, { 'retry-after': '86400' }, { code: 'rate_limited', retryAfterMs: 60_000 }],
    [500, {}, { code: 'unavailable', delivery: 'sent' }],
    [502, {}, { code: 'unavailable', delivery: 'sent' }],
    [503, { 'retry-after': '1' }, { code: 'unavailable', delivery: 'sent', retryAfterMs: 1_000 }],
  ];

  it.each(cases)('HTTP %i %p', async (status, headers, expected) => {
    const { url } = await serve((_seen, response) => text(response, status, 'no', headers));
    const { channel, receiver } = await open(url);
    const error = await failure(channel.send(request(1)));
    expect(error).toMatchObject({ ...expected, server: 'alpha' });
    expect(error.message).toContain(`HTTP ${status}`);
    expect(receiver.unanswered).toEqual([]);
    expect(fixtures[0]?.seen).toHaveLength(1);
  });

  it('421 does not send a second time', async () => {
    const { url } = await serve((_seen, response) => text(response, 421));
    const { channel } = await open(url);
    // The second request uses a connection that has been used before, where fetch would send again.
    await failure(channel.send(request(1)));
    expect(await failure(channel.send(request(2)))).toMatchObject({ code: 'unavailable', delivery: 'sent' });
    expect(fixtures[0]?.seen).toHaveLength(2);
  });

  it('with a body without end are cut off', async () => {
    let written = 0;
    const { url } = await serve((_seen, response) => {
      response.writeHead(500, { 'content-type': 'text/plain' });
      const more = (): void => {
        while (written < 400_000_000 && !response.destroyed) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536, 0x61))) return void response.once('drain', more);
        }
      };
      more();
    });
    const { channel } = await open(url);
    const error = await failure(channel.send(request(1)));
    expect(error).toMatchObject({ code: 'unavailable', data: { status: 500 } });
    expect(error.message.length).toBeLessThan(3_000);
    expect(written).toBeLessThan(50_000_000);
  });

  it.each([
    ['of another kind', 200, 'text/html', 'HTTP 200 with a body of type text/html'],
    ['without a content type', 200, '', 'HTTP 200 with a body without a content type'],
    ['of nothing but acceptance', 202, 'text/plain', 'accepted a request with HTTP 202'],
  ])('a success %s is an invalid response', async (_name, status, type, expected) => {
    const { url } = await serve((_seen, response) =>
      response.writeHead(status, type === '' ? {} : { 'content-type': type }).end('<html>'),
    );
    const { channel } = await open(url);
    const error = await failure(channel.send(request(1)));
    expect(error).toMatchObject({ code: 'invalid_response', delivery: 'sent' });
    expect(error.message).toContain(expected);
  });
});

describe('redirects', () => {
  it.each([301, 302, 303, 307, 308])('%i are not followed once the channel is open', async (status) => {
    const { channel, fixture } = await openLegacy((seen, response) => {
      if (!notOffered(seen, response)) text(response, status, '', { location: '/other' });
    });
    const error = await failure(channel.send(request(1)));
    expect(error).toMatchObject({
      code: 'protocol_error',
      data: { status, location: `${fixture.url.origin}/other` },
    });
    expect(fixture.of('POST', 'tools/call')).toHaveLength(1);
  });

  it('to another origin are not followed, and nothing is sent there', async () => {
    const other = await serve(ok);
    const { url } = await serve((_seen, response) => text(response, 307, '', { location: other.url.href }));
    const { channel } = await open(url, { headers: { 'x-api-key': 'k' } });
    const error = await failure(channel.send(INITIALIZE));
    expect(error.message).toContain(other.url.origin);
    expect(other.seen).toEqual([]);
  });

  it('of the opening within the origin name the new URL', async () => {
    const script = legacy((seen, response) => void (notOffered(seen, response) || ok(seen, response)));
    const { url } = await serve((seen, response) => {
      if (seen.path === '/mcp') text(response, 308, '', { location: '/mcp/' });
      else script(seen, response);
    });
    const pair = await open(url);
    await handshake(pair);
    await pair.channel.send(request(1));
    expect(fixtures[0]?.of('POST').map((s) => s.path)).toEqual(['/mcp', '/mcp/', '/mcp/', '/mcp/']);
  });

  it('in a circle end', async () => {
    const { url } = await serve((_seen, response) => text(response, 307, '', { location: '/mcp' }));
    const { channel } = await open(url);
    expect(await failure(channel.send(INITIALIZE))).toMatchObject({ code: 'protocol_error' });
    expect(fixtures[0]?.seen.length).toBeLessThanOrEqual(4);
  });
});

describe('broken connections', () => {
  it('a refused connection is unsent', async () => {
    const fixture = await createHttpFixture(ok);
    await fixture.close();
    const { channel } = await open(fixture.url);
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
      data: { reason: 'ECONNREFUSED' },
    });
  });

  it('a name that does not resolve is unsent', async () => {
    const { channel } = await open(new URL('http://no-such-host.invalid/mcp'));
    const error = await failure(channel.send(request(1)));
    expect(error).toMatchObject({ code: 'unavailable', delivery: 'unsent' });
    expect(error.message).toContain('no-such-host.invalid');
  });

  it('a socket that dies before the response may have done its work', async () => {
    const { url } = await serve((_seen, response) => response.destroy());
    const { channel } = await open(url);
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'connection_lost',
      delivery: 'sent',
    });
    expect(fixtures[0]?.seen).toHaveLength(1);
  });

  it('a body that is cut off leaves its request unanswered', async () => {
    const { url } = await serve((_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
      response.write('{"jsonrpc":');
      setImmediate(() => response.destroy());
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'connection_lost', delivery: 'sent' }]]);
  });

  it.each(['end', 'destroy'] as const)(
    'a stream that ends without the answer (%s) is told at once',
    async (how) => {
      const { url } = await serve((_seen, response) => {
        stream(response);
        event(response, {
          jsonrpc: '2.0',
          method: 'notifications/message',
          params: { level: 'info', data: 1 },
        });
        setImmediate(() => response[how]());
      });
      const { channel, receiver } = await open(url);
      await channel.send(request(1));
      await receiver.until(() => receiver.unanswered.length === 1);
      expect(receiver.unanswered).toMatchObject([
        [1, { code: 'connection_lost', delivery: 'sent', data: { reason: 'stream_ended' } }],
      ]);
      expect(fixtures[0]?.seen).toHaveLength(1);
    },
  );

  it('something that is not HTTP is an invalid response', async () => {
    const { url, close } = await loopback('SSH-2.0-OpenSSH_9.6\r\n');
    const { channel } = await open(url);
    const error = await failure(channel.send(request(1)));
    close();
    expect(error).toMatchObject({ code: 'invalid_response', delivery: 'sent' });
  });
});

describe('limits', () => {
  it.each([
    ['announced', true],
    ['not announced', false],
  ])('a body larger than a message may be is cut off: %s', async (_name, announced) => {
    let written = 0;
    const { url } = await serve((_seen, response) => {
      response.writeHead(200, {
        'content-type': 'application/json',
        ...(announced && { 'content-length': 400_000_000 }),
      });
      const more = (): void => {
        while (written < 400_000_000 && !response.destroyed) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536, 0x20))) return void response.once('drain', more);
        }
      };
      more();
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([
      [1, { code: 'limit_exceeded', delivery: 'answered', data: { limit: 1_048_576 } }],
    ]);
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
    expect(written).toBeLessThan(50_000_000);
  });

  it('counts what a compressed body unpacks to', async () => {
    const bomb = gzipSync(Buffer.alloc(64_000_000, 0x20));
    const { url } = await serve((_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(bomb);
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    const [, error] = receiver.unanswered[0] ?? [];
    expect(error).toMatchObject({ code: 'limit_exceeded' });
    const { atLeast } = (error as TroupeError).data as { atLeast: number };
    expect(atLeast).toBeLessThan(2_000_000);
  });

  it('an event larger than a message may be ends its stream only', async () => {
    const { url } = await serve((seen, response) => {
      if (seen.body?.id === 2) ok(seen, response);
      else stream(response).write(`data: ${'x'.repeat(2_000_000)}`);
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'limit_exceeded', server: 'alpha' }]]);
    await channel.send(request(2));
    await receiver.until(() => receiver.messages.length === 1);
  });

  it('headers larger than allowed are refused', async () => {
    const { url } = await serve((seen, response) =>
      json(response, result(seen), 200, { 'x-long': 'x'.repeat(10_000) }),
    );
    const { channel } = await open(url, { limits: { headerBytes: 8_192 } });
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'limit_exceeded',
      data: { limit: 8_192 },
    });
  });

  it('messages that wait for a socket are bounded in bytes, and free them when given up', async () => {
    const { url } = await serve((seen, response) => void (seen.body?.id === 3 && ok(seen, response)));
    const { channel, receiver } = await open(url, { connections: 1, limits: { writeQueueBytes: 10_000 } });
    const first = channel.send(request(1));
    await fixtures[0]?.until(() => fixtures[0]?.seen.length === 1);
    const second = channel.send(request(2, 'tools/call', { big: 'x'.repeat(9_500) }));
    expect(() => channel.send(request(3, 'tools/call', { big: 'x'.repeat(9_500) }))).toThrow(
      expect.objectContaining({ code: 'queue_full', delivery: 'unsent' }),
    );
    channel.forget(2);
    expect(await failure(second)).toMatchObject({ code: 'cancelled', delivery: 'unsent' });
    const third = channel.send(request(3));
    channel.forget(1);
    expect(await failure(first)).toMatchObject({ code: 'cancelled', delivery: 'sent' });
    await third;
    await receiver.until(() => receiver.messages.length === 1);
    expect(fixtures[0]?.seen.map((s) => s.body?.id)).toEqual([1, 3]);
  });

  it('silence on the response stream ends the request, a slow answer does not', async () => {
    const { url } = await serve((seen, response) => {
      if (seen.body?.id === 1) stream(response);
      else setTimeout(() => ok(seen, response), 400);
    });
    const { channel, receiver } = await open(url, { limits: { requestIdleMs: 100 } });
    await Promise.all([channel.send(request(1)), channel.send(request(2))]);
    await receiver.until(() => receiver.messages.length === 1 && receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'connection_lost', delivery: 'sent' }]]);
    expect(receiver.unanswered[0]?.[1].message).toContain('silent for 100 ms');
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
  });

  it('every byte puts silence off', async () => {
    const { url } = await serve((seen, response) => {
      stream(response);
      let left = 8;
      const timer = setInterval(() => {
        response.write(': still here\n');
        left -= 1;
        if (left > 0) return;
        clearInterval(timer);
        event(response, result(seen));
        response.end();
      }, 60);
    });
    const { channel, receiver } = await open(url, { limits: { requestIdleMs: 300 } });
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length + receiver.unanswered.length === 1);
    expect(receiver.unanswered).toEqual([]);
  });

  it('a listen stream has a limit of its own', async () => {
    const { url } = await serve((_seen, response) => void stream(response));
    const { channel, receiver } = await open(url, { limits: { requestIdleMs: 20, listenIdleMs: 200 } });
    await channel.send(request('l', 'subscriptions/listen', modern()));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered[0]?.[1].message).toContain('200 ms');
  });

  it('a notification that is never answered does not hang', async () => {
    const { url } = await serve(() => {});
    const { channel } = await open(url, { limits: { requestIdleMs: 80 } });
    const sent = channel.send({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
    expect(await failure(sent)).toMatchObject({ code: 'connection_lost', delivery: 'sent' });
  });

  it('a stream that goes on after the answer is closed', async () => {
    const { url } = await serve((seen, response) => {
      stream(response);
      event(response, result(seen));
      const timer = setInterval(() => response.write(': more\n'), 20);
      response.on('close', () => clearInterval(timer));
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
    expect(receiver.unanswered).toEqual([]);
  });
});

describe('malformed answers', () => {
  it.each([
    ['not JSON', '<oops>', 'invalid_response'],
    ['an empty body', '', 'invalid_response'],
    ['another id', '{"jsonrpc":"2.0","id":99,"result":{}}', 'invalid_response'],
    ['our id and no result', '{"jsonrpc":"2.0","id":1}', 'invalid_response'],
    ['no version', '{"id":1,"result":{}}', 'invalid_response'],
    [
      'too deep',
      `{"jsonrpc":"2.0","id":1,"result":{"a":${'['.repeat(200)}${']'.repeat(200)}}}`,
      'limit_exceeded',
    ],
    [
      'an error for nobody',
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"cannot read"}}',
      'protocol_error',
    ],
  ])('end their request at once: %s', async (_name, body, code) => {
    const { url } = await serve((_seen, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(body),
    );
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code, delivery: 'answered', server: 'alpha' }]]);
    expect(receiver.messages).toEqual([]);
    expect(receiver.closes).toEqual([]);
  });

  it('in a damaged gzip body too', async () => {
    const { url } = await serve((_seen, response) => {
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        .end('not gzip at all');
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered).toMatchObject([[1, { code: 'invalid_response' }]]);
  });

  it('in an encoding nobody knows too', async () => {
    const { url } = await serve((_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'zstd' }).end('?');
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await receiver.until(() => receiver.unanswered.length === 1);
    expect(receiver.unanswered[0]?.[1].message).toContain('zstd');
  });
});

describe('giving up', () => {
  it('closes the response stream: ten forgotten calls leave nothing open at the server', async () => {
    const { url } = await serve((seen, response) => {
      if (Number(seen.body?.id) % 2 === 0) stream(response);
    });
    const { channel, receiver } = await open(url);
    const sends = Array.from({ length: 10 }, (_, id) =>
      Promise.resolve(channel.send(request(id))).catch(() => {}),
    );
    await fixtures[0]?.until(() => fixtures[0]?.seen.length === 10);
    expect(fixtures[0]?.open).toBe(10);
    for (let id = 0; id < 10; id += 1) channel.forget(id);
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
    await Promise.all(sends);
    channel.forget(3);
    expect(receiver.unanswered).toEqual([]);
  });

  it('also when somebody else sends the cancellation', async () => {
    const { url } = await serve((seen, response) => {
      if (seen.body?.method === 'notifications/cancelled') text(response, 202);
      else stream(response);
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    await channel.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
    expect(receiver.unanswered).toEqual([]);
  });

  it('drops what arrives late', async () => {
    let late: ServerResponse | undefined;
    const { url } = await serve((_seen, response) => {
      late = stream(response);
    });
    const { channel, receiver } = await open(url);
    await channel.send(request(1));
    channel.forget(1);
    if (late !== undefined) event(late, { jsonrpc: '2.0', id: 1, result: {} });
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
    expect(receiver.messages).toEqual([]);
  });

  it('answers to the server pass although every request socket is taken', async () => {
    const { url } = await serve((seen, response) => {
      if (seen.body?.id === 1) stream(response);
      else text(response, 202);
    });
    const { channel } = await open(url, { connections: 1 });
    await channel.send(request(1));
    await channel.send({ jsonrpc: '2.0', id: 'from-server', result: {} });
    expect(fixtures[0]?.seen).toHaveLength(2);
  });
});

describe('batches', () => {
  const batch = [request(1), request(2), request(3)];

  it('are one POST, answered by one array', async () => {
    const { url } = await serve((seen, response) => {
      const members = seen.body as unknown as { id: number }[];
      json(
        response,
        members.map(({ id }) => ({ jsonrpc: '2.0', id, result: { id } })),
      );
    });
    const { channel, receiver } = await open(url);
    await channel.sendBatch?.(batch);
    await receiver.until(() => receiver.messages.length === 3);
    expect(fixtures[0]?.seen).toHaveLength(1);
  });

  it('tell each request that is not answered', async () => {
    const { url } = await serve((_seen, response) => {
      stream(response);
      event(response, { jsonrpc: '2.0', id: 2, result: {} });
      response.end();
    });
    const { channel, receiver } = await open(url);
    await channel.sendBatch?.(batch);
    await receiver.until(() => receiver.unanswered.length === 2);
    expect(receiver.messages).toHaveLength(1);
    expect(receiver.unanswered.map(([id]) => id)).toEqual([1, 3]);
  });

  it('are heard no longer once the channel is closed in the middle of the answer', async () => {
    const { url } = await serve((seen, response) => {
      const members = seen.body as unknown as readonly { readonly id: number }[];
      json(
        response,
        members.map(({ id }) => ({ jsonrpc: '2.0', id, result: {} })),
      );
    });
    const { channel, receiver } = await open(url);
    const { onMessage } = receiver;
    receiver.onMessage = (message) => {
      onMessage(message);
      void channel.close(0);
    };
    await channel.sendBatch?.(batch);
    await receiver.until(() => receiver.closes.length === 1);
    expect(receiver.messages).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
  });

  it('go on until the last of them is forgotten', async () => {
    const { url } = await serve((_seen, response) => void stream(response));
    const { channel } = await open(url);
    await channel.sendBatch?.(batch);
    channel.forget(1);
    channel.forget(2);
    expect(fixtures[0]?.open).toBe(1);
    channel.forget(3);
    await fixtures[0]?.until(() => fixtures[0]?.open === 0);
  });
});

describe('a session that is gone', () => {
  it.each([
    [404, 'Session not found'],
    [400, 'Bad Request: No valid session ID provided'],
  ])(
    '(HTTP %i) proves its requests unsent and closes the channel after they were told',
    async (status, said) => {
      const order: string[] = [];
      const waiting: ServerResponse[] = [];
      const { channel, receiver, fixture } = await openLegacy((seen, response) => {
        if (notOffered(seen, response)) return;
        waiting.push(response);
        if (waiting.length === 3)
          for (const each of waiting)
            json(each, { jsonrpc: '2.0', id: null, error: { code: -32001, message: said } }, status);
      });
      const sends = [1, 2, 3].map(async (id) => {
        const error = await failure(channel.send(request(id)));
        order.push('refused');
        return error;
      });
      const errors = await Promise.all(sends);
      for (const error of errors) {
        expect(error).toMatchObject({
          code: 'connection_lost',
          delivery: 'unsent',
          data: { reason: 'session_expired', status },
        });
      }
      await receiver.until(() => receiver.closes.length === 1);
      expect(receiver.closes).toMatchObject([
        { code: 'connection_lost', data: { reason: 'session_expired' } },
      ]);
      expect(fixture.of('DELETE')).toEqual([]);
      expect(() => channel.send(request(4))).toThrow(expect.objectContaining({ delivery: 'unsent' }));
    },
  );

  it('is not waited for by requests that hang', async () => {
    const { channel, receiver } = await openLegacy((seen, response) => {
      if (!notOffered(seen, response) && seen.body?.id === 2) text(response, 404);
    });
    const hanging = failure(channel.send(request(1)));
    expect(await failure(channel.send(request(2)))).toMatchObject({ delivery: 'unsent' });
    expect(await hanging).toMatchObject({ code: 'connection_lost', delivery: 'sent' });
    await receiver.until(() => receiver.closes.length === 1);
  });

  it.each([
    [404, -32602, 'ticket 7 not found'],
    [400, -32602, 'the browser session has crashed'],
  ])('is not what HTTP %i means with an answer to our request', async (status, code, message) => {
    const { channel, receiver, fixture } = await openLegacy((seen, response) => {
      if (notOffered(seen, response)) return;
      json(response, { jsonrpc: '2.0', id: seen.body?.id, error: { code, message } }, status);
    });
    await channel.send(request(7));
    await receiver.until(() => receiver.messages.length === 1);
    expect(receiver.messages).toMatchObject([{ id: 7, error: { code, message } }]);
    expect(receiver.closes).toEqual([]);
    expect(fixture.seen.filter(({ body }) => body?.id === 7)).toHaveLength(1);
  });

  it('is not what 404 means without a session, or with our id and an unknown method', async () => {
    const { url } = await serve((_seen, response) => text(response, 404));
    const stateless = await open(url);
    expect(await failure(stateless.channel.send(request(1)))).toMatchObject({ code: 'protocol_error' });
    const { channel, receiver } = await openLegacy((seen, response) => {
      if (!notOffered(seen, response))
        json(
          response,
          { jsonrpc: '2.0', id: seen.body?.id, error: { code: -32601, message: 'unknown' } },
          404,
        );
    });
    await channel.send(request(1, 'vendor/x'));
    expect(receiver.messages).toMatchObject([{ id: 1, error: { code: -32601 } }]);
    expect(receiver.closes).toEqual([]);
  });
});

describe('credentials', () => {
  it('are asked for each request, and once for help', async () => {
    let token = 'old';
    const asked: unknown[] = [];
    const { url } = await serve((seen, response) => {
      if (seen.headers.authorization === 'Bearer new') ok(seen, response);
      else text(response, 401, '', { 'www-authenticate': 'Bearer error="invalid_token"' });
    });
    const { channel, receiver } = await open(url, {
      headers: { authorization: 'Bearer static' },
      credentials: {
        headers: () => Promise.resolve({ Authorization: `Bearer ${token}` }),
        refused: (challenge) => {
          asked.push(challenge);
          token = 'new';
          return Promise.resolve(true);
        },
      },
    });
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 1);
    expect(asked).toEqual([
      { status: 401, wwwAuthenticate: 'Bearer error="invalid_token"', used: { Authorization: 'Bearer old' } },
    ]);
    expect(fixtures[0]?.seen.map((s) => s.headers.authorization)).toEqual(['Bearer old', 'Bearer new']);
    await channel.send(request(2));
    expect(asked).toHaveLength(1);
  });

  it('that cannot help lead to auth_required, also the second time', async () => {
    const { url } = await serve((_seen, response) =>
      text(response, 403, 'no', { 'www-authenticate': 'Bearer scope="x"' }),
    );
    let help = true;
    const { channel } = await open(url, {
      credentials: { headers: () => undefined, refused: () => Promise.resolve(help) },
    });
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'auth_required',
      data: { wwwAuthenticate: 'Bearer scope="x"' },
    });
    expect(fixtures[0]?.seen).toHaveLength(2);
    help = false;
    expect(await failure(channel.send(request(2)))).toMatchObject({ code: 'auth_required' });
    expect(fixtures[0]?.seen).toHaveLength(3);
  });

  it('are told what they are for, see each head, and may have a message sent again for its sake, once', async () => {
    const { url } = await serve((seen, response) => {
      if (seen.headers['x-nonce'] === 'n1') ok(seen, response);
      else text(response, 401, '', { 'x-next': seen.headers['x-nonce'] === undefined ? 'n0' : 'n1' });
    });
    let nonce: string | undefined;
    const targets: string[] = [];
    const heads: number[] = [];
    let refusals = 0;
    const { channel, receiver } = await open(url, {
      credentials: {
        headers: ({ method, url: target }) => {
          targets.push(`${method} ${target.href}`);
          return nonce === undefined ? undefined : { 'x-nonce': nonce };
        },
        answered: (status, headers) => {
          heads.push(status);
          const next = headers['x-next'];
          if (typeof next === 'string') nonce = next;
          return typeof next === 'string';
        },
        refused: () => {
          refusals += 1;
          return Promise.resolve(true);
        },
      },
    });
    await channel.send(request(1));
    await receiver.until(() => receiver.messages.length === 1);
    expect(targets).toEqual([`POST ${url.href}`, `POST ${url.href}`, `POST ${url.href}`]);
    // The first 401 brought a nonce, the second one was asked about, the third sending was accepted.
    expect(heads).toEqual([401, 401, 200]);
    expect(refusals).toBe(1);
  });

  it('that fail keep the request from being sent', async () => {
    const { url } = await serve(ok);
    const { channel } = await open(url, {
      credentials: {
        headers: () => Promise.reject(new Error('vault is closed')),
        refused: () => Promise.resolve(false),
      },
    });
    expect(await failure(channel.send(request(1)))).toMatchObject({
      code: 'auth_required',
      delivery: 'unsent',
    });
    expect(fixtures[0]?.seen).toEqual([]);
  });

  it('are not used for a request that was given up meanwhile', async () => {
    const { url } = await serve(ok);
    const { channel } = await open(url, {
      credentials: {
        headers: () => new Promise((resolve) => void setImmediate(resolve, {})),
        refused: () => Promise.resolve(false),
      },
    });
    const sent = channel.send(request(1));
    channel.forget(1);
    expect(await failure(sent)).toMatchObject({ code: 'cancelled', delivery: 'unsent' });
    await channel.send({ jsonrpc: '2.0', method: 'notifications/x' });
    expect(fixtures[0]?.of('POST', 'tools/call')).toEqual([]);
  });
});

describe('closing', () => {
  it('ends the session with DELETE and tells who waits', async () => {
    const { channel, receiver, fixture } = await openLegacy((seen, response) => {
      if (seen.method === 'DELETE') text(response, 200);
      else notOffered(seen, response);
    });
    const waiting = failure(channel.send(request(1)));
    await fixture.until(() => fixture.of('POST', 'tools/call').length === 1);
    await Promise.all([channel.close(5_000), channel.close(5_000)]);
    expect(await waiting).toMatchObject({ code: 'connection_lost', delivery: 'sent' });
    expect(fixture.of('DELETE')).toHaveLength(1);
    expect(fixture.of('DELETE')[0]?.headers).toMatchObject({
      'mcp-session-id': 'session-1',
      'mcp-protocol-version': '2025-11-25',
    });
    expect(receiver.closes).toHaveLength(1);
    expect(() => channel.send(request(2))).toThrow('the connection is closed');
  });

  it.each([404, 405, 500])('does not mind HTTP %i', async (status) => {
    const { channel, receiver } = await openLegacy((_seen, response) => text(response, status));
    await channel.close(5_000);
    expect(receiver.closes).toMatchObject([
      { message: '[connection_lost] alpha: the connection was closed' },
    ]);
  });

  it('waits no longer than the grace time for a server that does not answer', async () => {
    const { channel } = await openLegacy((seen, response) => {
      if (seen.method === 'GET') text(response, 405);
    });
    const started = performance.now();
    await channel.close(100);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('of a modern conversation sends nothing', async () => {
    const { url } = await serve(ok);
    const { channel } = await open(url);
    channel.setProtocolVersion('2026-07-28');
    await channel.send(request(1, 'tools/list', modern()));
    await channel.close(1_000);
    expect(fixtures[0]?.seen).toHaveLength(1);
  });

  it('before opening is no error', async () => {
    const channel = createStreamableHttpChannel(baseOptionsFor(new URL('http://127.0.0.1:1/')));
    expect(() => channel.send(request(1))).toThrow('not open');
    await channel.close(0);
  });
});

function baseOptionsFor(url: URL): Parameters<typeof createStreamableHttpChannel>[0] {
  return {
    ...baseOptions,
    url,
    limits: { headerBytes: 1_024, notificationsPerSecond: 1, notificationBurst: 1 } as never,
  };
}
