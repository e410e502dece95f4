import { afterEach, describe, it, expect, jest } from '@jest/globals';
import { McpServer } from '@modelcontextprotocol/server';
import type { Transport } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { createServer } from 'node:net';
import { Socket as NetSocket } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocket } from 'ws';
import { createClock } from '../../../lib/core/clock.ts';
import type { TroupeError } from '../../../lib/core/errors.ts';
import { createWebSocketChannel } from '../../../lib/mcp/transports/websocket.ts';
import type { WebSocketChannelOptions } from '../../../lib/mcp/transports/websocket.ts';
import type { Channel } from '../../../lib/mcp/wire/channel.ts';
import { INITIALIZE, ask, limitsWith, modern } from '../../support/channel-dialogue.ts';
import { createRecordingReceiver } from '../../support/recording-receiver.ts';
import type { RecordingReceiver } from '../../support/recording-receiver.ts';
import { createVirtualClock } from '../../support/virtual-clock.ts';
import { startWsServer, wsServerTransport } from '../../support/ws-server.ts';
import type { WsServer } from '../../support/ws-server.ts';

// The machine may be busy; everything waits for conditions.
jest.setTimeout(30_000);

const clock = createClock();
let servers: WsServer[] = [];
let channels: Channel[] = [];

afterEach(async () => {
  await Promise.all(channels.map((channel) => channel.close(0)));
  await Promise.all(servers.map((server) => server.close()));
  channels = [];
  servers = [];
});

async function serve(...given: Parameters<typeof startWsServer>): Promise<WsServer> {
  const server = await startWsServer(...given);
  servers.push(server);
  return server;
}

function channelTo(url: URL, options: Partial<WebSocketChannelOptions> = {}): Channel {
  const channel = createWebSocketChannel({ url, limits: limitsWith(), clock, server: 's', ...options });
  channels.push(channel);
  return channel;
}

async function opened(
  url: URL,
  options?: Partial<WebSocketChannelOptions>,
): Promise<[Channel, RecordingReceiver]> {
  const channel = channelTo(url, options);
  const recorder = createRecordingReceiver();
  await channel.open(recorder);
  return [channel, recorder];
}

async function closeOf(recorder: RecordingReceiver): Promise<TroupeError | undefined> {
  await recorder.until(() => recorder.closes.length > 0);
  return recorder.closes[0];
}

const echo = (socket: WebSocket): void => {
  socket.on('message', (data: Buffer) => {
    const { id, params } = JSON.parse(data.toString()) as { id: number; params?: object };
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, result: params ?? {} }));
  });
};

describe('createWebSocketChannel', () => {
  const mcp = (): McpServer => {
    const server = new McpServer({ name: 'ws', version: '1' });
    server.registerTool('ping', {}, () => ({ content: [{ type: 'text', text: 'pong' }] }));
    return server;
  };
  const serveMcp = (socket: WebSocket): void => {
    serveStdio(mcp, { transport: wsServerTransport(socket) as unknown as Transport });
  };

  it('talks to an MCP server in the legacy era', async () => {
    const [channel, recorder] = await opened((await serve(serveMcp)).url);
    expect((await ask(channel, recorder, 1, 'initialize', INITIALIZE))['protocolVersion']).toBe('2025-11-25');
    channel.send({ jsonrpc: '2.0', method: 'notifications/initialized' }) as void;
    const result = await ask(channel, recorder, 2, 'tools/call', { name: 'ping', arguments: {} });
    expect(result['content']).toEqual([{ type: 'text', text: 'pong' }]);
  });

  it('talks to an MCP server in the modern era', async () => {
    const [channel, recorder] = await opened((await serve(serveMcp)).url);
    expect((await ask(channel, recorder, 'a', 'server/discover', modern()))['supportedVersions']).toEqual([
      '2026-07-28',
    ]);
    const result = await ask(channel, recorder, 2, 'tools/call', modern({ name: 'ping', arguments: {} }));
    expect(result['content']).toEqual([{ type: 'text', text: 'pong' }]);
  });

  it('asks for the sub-protocol `mcp`, sends the headers, and offers no compression', async () => {
    let headers: Record<string, unknown> = {};
    const server = await serve(() => {}, {
      verifyClient: ({ req }: { req: { headers: Record<string, unknown> } }) => {
        headers = req.headers;
        return true;
      },
    });
    const url = new URL(server.url);
    url.username = 'me';
    url.password = 'secret';
    await opened(url, { headers: { 'x-key': '1' } });
    expect(headers).toMatchObject({
      'sec-websocket-protocol': 'mcp',
      'x-key': '1',
      authorization: `Basic ${Buffer.from('me:secret').toString('base64')}`,
    });
    expect(headers['sec-websocket-extensions']).toBeUndefined();
  });

  it('keeps 1000 messages in order', async () => {
    const [channel, recorder] = await opened((await serve(echo)).url);
    for (let id = 1; id <= 1000; id += 1) await channel.send({ jsonrpc: '2.0', id, method: 'x' });
    await recorder.until(() => recorder.messages.length === 1000);
    expect(recorder.messages.map((m) => ('id' in m ? m.id : undefined))).toEqual(
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
  });

  it.each([
    [401, 'auth_required'],
    [403, 'auth_required'],
    [404, 'unavailable'],
    [503, 'unavailable'],
  ])('a handshake answered with %s is %s', async (refuse, code) => {
    const refuseHeaders = { 'www-authenticate': 'Bearer', 'retry-after': '2' };
    const server = await serve(() => {}, { refuse, refuseHeaders });
    const recorder = createRecordingReceiver();
    const opening = channelTo(server.url).open(recorder);
    await expect(opening).rejects.toMatchObject({
      code,
      server: 's',
      delivery: 'unsent',
      retryAfterMs: 2_000,
      data: { status: refuse },
    });
    expect(recorder.closes).toEqual([]);
  });

  it('says so when nobody listens, or it is no WebSocket server', async () => {
    const server = await serve(() => {});
    await server.close();
    await expect(channelTo(server.url).open(createRecordingReceiver())).rejects.toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
      data: { cause: 'ECONNREFUSED' },
    });
    const deaf = await serve(echo, { handleProtocols: () => false });
    await expect(channelTo(deaf.url).open(createRecordingReceiver())).rejects.toMatchObject({
      code: 'protocol_error',
      message: expect.stringContaining('sub-protocol `mcp`'),
    });
  });

  it('gives up opening when it is closed', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const accepted = new Promise<Socket>((resolve) => silent.once('connection', resolve));
    const channel = channelTo(new URL(`ws://127.0.0.1:${(silent.address() as AddressInfo).port}`));
    const recorder = createRecordingReceiver();
    const opening = channel.open(recorder);
    const refused = opening.catch((error: unknown) => error);
    (await accepted).on('error', () => {});
    await channel.close(1_000);
    expect(await refused).toMatchObject({ code: 'connection_lost', delivery: 'unsent' });
    expect(recorder.closes).toEqual([]);
    await new Promise((resolve) => silent.close(resolve));
  });

  it('names code and reason when the server closes, escaped', async () => {
    const [, recorder] = await opened(
      (await serve((socket) => socket.close(4_001, 'go\u001b[31m away'))).url,
    );
    const error = await closeOf(recorder);
    expect(error).toMatchObject({
      code: 'connection_lost',
      server: 's',
      delivery: 'sent',
      data: { closeCode: 4_001 },
    });
    expect(error?.message).toBe(
      '[connection_lost] s: the server closed the WebSocket with code 4001: go\\u001b[31m away',
    );
  });

  it('ends on a binary frame', async () => {
    const server = await serve((socket) => {
      socket.send(Buffer.from('{}'));
      socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'late' }));
    });
    const [, recorder] = await opened(server.url);
    expect(await closeOf(recorder)).toMatchObject({ code: 'protocol_error', delivery: 'sent' });
    expect(recorder.messages).toEqual([]);
  });

  it('ends on a message that is too long', async () => {
    const limits = limitsWith({ messageBytes: 1_000 });
    const server = await serve((socket) => socket.send('x'.repeat(1_001)));
    const [, recorder] = await opened(server.url, { limits });
    expect(await closeOf(recorder)).toMatchObject({ code: 'limit_exceeded' });
  });

  it('ends on a frame that breaks the protocol', async () => {
    const server = await serve((socket) => {
      const raw = Object.values(socket).find((value): value is Socket => value instanceof NetSocket);
      raw?.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    });
    const [, recorder] = await opened(server.url);
    expect(await closeOf(recorder)).toMatchObject({ code: 'protocol_error' });
  });

  it('survives garbage in a text frame', async () => {
    const server = await serve((socket) => {
      socket.send('no json');
      echo(socket);
    });
    const [channel, recorder] = await opened(server.url);
    expect(await ask(channel, recorder, 1, 'x', { n: 1 })).toEqual({ n: 1 });
    expect(recorder.oddities.map((e) => e.code)).toEqual(['invalid_response']);
  });

  it('refuses to queue without end for a server that does not read', async () => {
    const limits = limitsWith({ writeQueueBytes: 100_000 });
    const server = await serve((socket) => socket.pause());
    const [channel] = await opened(server.url, { limits });
    const params = { text: 'x'.repeat(1_000_000) };
    const fill = (): void => {
      for (let id = 0; id < 200; id += 1) void channel.send({ jsonrpc: '2.0', id, method: 'x', params });
    };
    expect(fill).toThrow(expect.objectContaining({ code: 'queue_full', delivery: 'unsent', server: 's' }));
  });

  it('notices a connection that is open on one side only', async () => {
    const virtual = createVirtualClock();
    const server = await serve(() => {}, { autoPong: false });
    const [, recorder] = await opened(server.url, { clock: virtual });
    for (let i = 0; i < 3; i += 1) await virtual.advance(30_000);
    expect(await closeOf(recorder)).toMatchObject({
      code: 'connection_lost',
      message: expect.stringContaining('no WebSocket ping for 60 s'),
    });
    expect(virtual.armed).toBe(0);
  });

  it('stays while pings are answered', async () => {
    const virtual = createVirtualClock();
    const server = await serve(echo);
    const [channel, recorder] = await opened(server.url, { clock: virtual, pingMs: 1_000 });
    for (let i = 0; i < 6; i += 1) {
      const ping = new Promise((resolve) => server.sockets[0]?.once('ping', resolve));
      await virtual.advance(1_000);
      await ping;
      // The pong comes before the answer.
      expect(await ask(channel, recorder, i, 'x')).toEqual({});
    }
    expect(recorder.closes).toEqual([]);
    await channel.close(0);
    expect(virtual.armed).toBe(0);
  });

  it('closes politely, once, and leaves no listener', async () => {
    const polite = jest.spyOn(WebSocket.prototype, 'close');
    const server = await serve(echo);
    const [channel, recorder] = await opened(server.url);
    const code = new Promise((resolve) => server.sockets[0]?.on('close', resolve));
    await Promise.all([channel.close(5_000), channel.close(5_000)]);
    expect(await code).toBe(1000);
    expect(recorder.closes).toMatchObject([{ code: 'connection_lost', detail: 'the connection was closed' }]);
    const ours = polite.mock.contexts[0] as WebSocket;
    expect(ours.eventNames()).toEqual([]);
    expect(() => channel.send({ jsonrpc: '2.0', method: 'x' })).toThrow(
      expect.objectContaining({ code: 'connection_lost', delivery: 'unsent' }),
    );
  });

  it('does not wait for a server that does not close', async () => {
    const server = await serve((socket) => socket.pause());
    const [channel, recorder] = await opened(server.url);
    await channel.close(20);
    expect(recorder.closes).toHaveLength(1);
  });

  it('loses a server that dies', async () => {
    const server = await serve(() => {});
    const [, recorder] = await opened(server.url);
    server.sockets[0]?.terminate();
    expect(await closeOf(recorder)).toMatchObject({ code: 'connection_lost', data: { closeCode: 1006 } });
  });

  it.each<[string, Partial<WebSocketChannelOptions>]>([
    ['url', { url: new URL('http://127.0.0.1/') }],
    ['headers', { headers: { 'bad name': 'x' } }],
    ['tls', { url: new URL('wss://127.0.0.1/'), tls: { ca: 'no certificate', cert: 'x', key: 'y' } }],
  ])('refuses a wrong %s at once', (field, options) => {
    const make = (): unknown =>
      createWebSocketChannel({
        url: new URL('ws://x/'),
        limits: limitsWith(),
        clock,
        server: 's',
        ...options,
      });
    expect(make).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        server: 's',
        detail: expect.stringContaining(field),
      }),
    );
  });
});
