/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import { afterEach, describe, it, expect, jest } from '@jest/globals';
import { Client } from '@modelcontextprotocol/client';
import { McpServer, Server } from '@modelcontextprotocol/server';
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import fc from 'fast-check';
import { createRequire } from 'node:module';
import { z } from 'zod';
import { createClock } from '../../../lib/core/clock.ts';
import type { Json, RpcMessage } from '../../../lib/core/json-rpc.ts';
import { createInMemoryChannel } from '../../../lib/mcp/transports/in-memory.ts';
import type { InMemoryChannelOptions } from '../../../lib/mcp/transports/in-memory.ts';
import type { SdkTransport } from '../../../lib/mcp/transports/sdk-transport.ts';
import type { Channel } from '../../../lib/mcp/wire/channel.ts';
import { INITIALIZE, ask, modern } from '../../support/channel-dialogue.ts';
import { createRecordingReceiver } from '../../support/recording-receiver.ts';
import type { RecordingReceiver } from '../../support/recording-receiver.ts';
import { createVirtualClock } from '../../support/virtual-clock.ts';

// The machine may be busy; everything waits for conditions.
jest.setTimeout(30_000);

const clock = createClock();
let channels: Channel[] = [];

afterEach(async () => {
  await Promise.all(channels.map((channel) => channel.close(1_000)));
  channels = [];
});

function channelOf(
  factory: InMemoryChannelOptions['factory'],
  options: Partial<InMemoryChannelOptions> = {},
): Channel {
  const channel = createInMemoryChannel({ factory, clock, server: 's', ...options });
  channels.push(channel);
  return channel;
}

async function opened(factory: InMemoryChannelOptions['factory']): Promise<[Channel, RecordingReceiver]> {
  const channel = channelOf(factory);
  const recorder = createRecordingReceiver();
  await channel.open(recorder);
  return [channel, recorder];
}

/** A server with a tool that echoes, one that reports progress and changes the tool list, and one that asks the client. */
function build(): McpServer {
  const server = new McpServer(
    { name: 'mem', version: '1' },
    { capabilities: { tools: { listChanged: true } } },
  );
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({
    content: [{ type: 'text', text }],
  }));
  server.registerTool('work', {}, async (context) => {
    const progressToken = context.mcpReq['_meta']?.progressToken;
    if (progressToken !== undefined) {
      for (const progress of [1, 2, 3]) {
        await context.mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress, total: 3 },
        });
      }
    }
    server.sendToolListChanged();
    return { content: [] };
  });
  server.registerTool('think', {}, async () => {
    const answer = await server.server.createMessage({
      messages: [{ role: 'user', content: { type: 'text', text: 'what?' } }],
      maxTokens: 9,
    });
    return { content: [answer.content] };
  });
  return server;
}

const methodsOf = (messages: readonly RpcMessage[]): string[] =>
  messages.flatMap((m) => ('method' in m ? [m.method] : []));
const callOf = (name: string, args: Json = {}, token?: string): Json => ({
  name,
  arguments: args,
  ...(token !== undefined && { _meta: { progressToken: token } }),
});

describe('a server of SDK 2', () => {
  it('answers in the legacy era: echo, progress, list_changed', async () => {
    const [channel, recorder] = await opened(build);
    expect((await ask(channel, recorder, 1, 'initialize', INITIALIZE))['protocolVersion']).toBe('2025-11-25');
    await channel.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    const echoed = await ask(channel, recorder, 2, 'tools/call', callOf('echo', { text: 'hi' }));
    expect(echoed['content']).toEqual([{ type: 'text', text: 'hi' }]);
    await ask(channel, recorder, 3, 'tools/call', callOf('work', {}, 'p'));
    await recorder.until(() => methodsOf(recorder.messages).includes('notifications/tools/list_changed'));
    expect(methodsOf(recorder.messages).filter((m) => m === 'notifications/progress')).toHaveLength(3);
  });

  it('answers in the modern era, and lets subscriptions end before the connection does', async () => {
    const [channel, recorder] = await opened(build);
    expect((await ask(channel, recorder, 1, 'server/discover', modern()))['supportedVersions']).toEqual([
      '2026-07-28',
    ]);
    const echoed = await ask(channel, recorder, 2, 'tools/call', modern(callOf('echo', { text: 'hi' })));
    expect(echoed['content']).toEqual([{ type: 'text', text: 'hi' }]);
    await channel.send({
      jsonrpc: '2.0',
      id: 'listen:1',
      method: 'subscriptions/listen',
      params: modern({ notifications: { toolsListChanged: true } }),
    });
    await recorder.until(() =>
      methodsOf(recorder.messages).includes('notifications/subscriptions/acknowledged'),
    );
    await ask(channel, recorder, 3, 'tools/call', modern(callOf('work')));
    await recorder.until(() => methodsOf(recorder.messages).includes('notifications/tools/list_changed'));
    await channel.close(1_000);
    expect(recorder.messages.at(-1)).toMatchObject({ id: 'listen:1', result: { resultType: 'complete' } });
    expect(recorder.closes).toHaveLength(1);
  });

  it('makes the round trip of sampling with the real client', async () => {
    const [channel, recorder] = await opened(build);
    const transport: SdkTransport = {
      start: () => Promise.resolve(),
      send: async (message) => channel.send(message),
      close: () => channel.close(1_000),
    };
    recorder.onMessage = (message) => transport.onmessage?.(message);
    const client = new Client({ name: 'c', version: '1' }, { capabilities: { sampling: {} } });
    client.setRequestHandler('sampling/createMessage', () => ({
      role: 'assistant' as const,
      model: 'm',
      content: { type: 'text' as const, text: 'that' },
    }));
    await client.connect(transport);
    const result = await client.callTool({ name: 'think', arguments: {} });
    expect(result.content).toEqual([{ type: 'text', text: 'that' }]);
  });

  it('goes on in the legacy era after a look at the modern one, with a second server', async () => {
    const factory = jest.fn(build);
    const [channel, recorder] = await opened(factory);
    await ask(channel, recorder, 1, 'server/discover', modern());
    expect(factory).toHaveBeenCalledTimes(1);
    await ask(channel, recorder, 2, 'initialize', INITIALIZE);
    expect(factory).toHaveBeenCalledTimes(2);
  });

  it('tells the era to a factory that wants to know it', async () => {
    const eras: string[] = [];
    const [channel, recorder] = await opened(({ era }) => {
      eras.push(era);
      return build();
    });
    await ask(channel, recorder, 1, 'initialize', INITIALIZE);
    expect(eras.at(-1)).toBe('legacy');
  });

  it('takes a low-level Server, and a promise', async () => {
    const [channel, recorder] = await opened(async () => {
      const server = new Server({ name: 'low', version: '1' }, { capabilities: { tools: {} } });
      server.setRequestHandler('tools/list', () => ({ tools: [] }));
      return server;
    });
    await ask(channel, recorder, 1, 'initialize', INITIALIZE);
    expect(await ask(channel, recorder, 2, 'tools/list')).toEqual({ tools: [] });
  });

  it('takes an McpServer of another copy of the package', async () => {
    const other = createRequire(import.meta.url)('@modelcontextprotocol/server') as {
      McpServer: typeof McpServer;
    };
    expect(other.McpServer).not.toBe(McpServer);
    const [channel, recorder] = await opened(() => {
      const server = new other.McpServer({ name: 'other', version: '1' });
      server.registerTool('t', {}, () => ({ content: [] }));
      return server;
    });
    await ask(channel, recorder, 1, 'server/discover', modern());
    expect((await ask(channel, recorder, 2, 'tools/list', modern()))['tools']).toHaveLength(1);
  });

  it('answers 1000 requests, each once and in order, whatever the bursts', async () => {
    const [channel, recorder] = await opened(build);
    await ask(channel, recorder, 'i', 'initialize', INITIALIZE);
    let base = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }),
        async (bursts) => {
          recorder.messages.length = 0;
          const first = (base += 10_000);
          let sent = 0;
          for (let turn = 0; sent < 1000; turn += 1) {
            const size = Math.min(bursts[turn % bursts.length] ?? 1, 1000 - sent);
            for (let i = 0; i < size; i += 1) {
              await channel.send({ jsonrpc: '2.0', id: first + sent, method: 'ping' });
              sent += 1;
            }
            if (turn % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
          await recorder.until(() => recorder.messages.length >= 1000);
          const ids = recorder.messages.map((m) => ('id' in m ? m.id : undefined));
          expect(ids).toEqual(Array.from({ length: 1000 }, (_, i) => first + i));
        },
      ),
      { numRuns: 2 },
    );
  });
});

describe('a server of SDK 1', () => {
  it('answers in the legacy era', async () => {
    const [channel, recorder] = await opened(() => {
      const server = new McpServerV1({ name: 'one', version: '1' });
      server.registerTool('t', {}, () => ({ content: [{ type: 'text', text: 'old' }] }));
      return server;
    });
    await ask(channel, recorder, 1, 'initialize', INITIALIZE);
    const result = await ask(channel, recorder, 2, 'tools/call', callOf('t'));
    expect(result['content']).toEqual([{ type: 'text', text: 'old' }]);
    await channel.close(1_000);
    expect(recorder.closes).toMatchObject([{ code: 'connection_lost', server: 's' }]);
  });
});

describe('anything with `connect`', () => {
  it('gets and gives messages by reference', async () => {
    const answer: RpcMessage = { jsonrpc: '2.0', id: 1, result: { big: {} } };
    let got: RpcMessage | undefined;
    const [channel, recorder] = await opened(() => ({
      connect(transport: SdkTransport) {
        transport.onmessage = (message) => {
          got = message;
          void transport.send(answer);
        };
        return transport.start();
      },
    }));
    const request: RpcMessage = { jsonrpc: '2.0', id: 1, method: 'x' };
    await channel.send(request);
    await recorder.until(() => recorder.messages.length === 1);
    expect(got).toBe(request);
    expect(recorder.messages[0]).toBe(answer);
  });

  it('is told by its words alone', async () => {
    let end: SdkTransport | undefined;
    const [, recorder] = await opened(() => ({
      connect(transport: SdkTransport) {
        end = transport;
        return transport.start();
      },
    }));
    for (const message of [
      null,
      'text',
      { jsonrpc: '2.0' },
      { jsonrpc: '2.0', id: 7 },
      { jsonrpc: '1.0', id: 8, result: {} },
    ]) {
      await end?.send(message as unknown as RpcMessage);
    }
    await end?.send({ jsonrpc: '2.0', method: 'fine' });
    await recorder.until(() => recorder.messages.length === 1);
    expect(recorder.oddities.map((e) => e.code)).toEqual(Array(3).fill('invalid_response'));
    expect(recorder.unanswered.map(([id, error]) => [id, error.code])).toEqual([
      [7, 'invalid_response'],
      [8, 'invalid_response'],
    ]);
  });
});

describe('a server that cannot be had', () => {
  const hang = (): Promise<never> => new Promise(() => {});

  it.each<[string, () => unknown, string, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no database');
      },
      'unavailable',
      /`server` failed: no database/,
    ],
    ['rejects', () => Promise.reject(new Error('no database')), 'unavailable', /no database/],
    ['returns nothing', () => undefined, 'config_invalid', /must return an McpServer/],
    ['returns something else', () => ({ start() {} }), 'config_invalid', /must return an McpServer/],
    ['cannot connect', () => ({ connect: () => Promise.reject(new Error('busy')) }), 'unavailable', /busy/],
  ])('%s', async (_, factory, code, text) => {
    const recorder = createRecordingReceiver();
    await expect(channelOf(factory).open(recorder)).rejects.toMatchObject({
      code,
      server: 's',
      delivery: 'unsent',
      message: expect.stringMatching(text),
    });
    expect(recorder.closes).toEqual([]);
  });

  it.each([
    ['a factory', hang],
    ['`connect`', () => ({ connect: hang })],
  ])('%s that hangs is given up', async (_, factory) => {
    const virtual = createVirtualClock();
    const opening = channelOf(factory, { clock: virtual, startTimeoutMs: 3_000 }).open(
      createRecordingReceiver(),
    );
    const outcome = opening.catch((error: unknown) => error);
    await virtual.advance(3_000);
    expect(await outcome).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('within 3000 ms'),
    });
    expect(virtual.armed).toBe(0);
  });

  it('is not waited for after close, and closed when it comes late', async () => {
    let late: (server: unknown) => void = () => {};
    const channel = channelOf(
      () =>
        new Promise((resolve) => {
          late = resolve;
        }),
    );
    const opening = channel.open(createRecordingReceiver()).catch((error: unknown) => error);
    await channel.close(1_000);
    expect(await opening).toMatchObject({ code: 'connection_lost', delivery: 'unsent' });
    await new Promise<void>((resolve) => {
      late({ connect: hang, close: () => Promise.resolve(resolve()) });
    });
    await expect(channel.open(createRecordingReceiver())).rejects.toMatchObject({ code: 'connection_lost' });
  });

  it('is one already connected', async () => {
    const shared = build();
    await opened(() => shared).then(([channel, recorder]) =>
      ask(channel, recorder, 1, 'initialize', INITIALIZE),
    );
    await expect(channelOf(() => shared).open(createRecordingReceiver())).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('return a new one per call'),
    });
  });

  it('ends the connection when the second one fails', async () => {
    let calls = 0;
    const [channel, recorder] = await opened(() => {
      calls += 1;
      if (calls === 2) throw new Error('only once');
      return build();
    });
    await ask(channel, recorder, 1, 'server/discover', modern());
    await channel.send({ jsonrpc: '2.0', id: 2, method: 'initialize', params: INITIALIZE });
    await recorder.until(() => recorder.closes.length > 0);
    expect(recorder.closes[0]).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('only once'),
    });
  });
});

describe('the end', () => {
  it('of a server that closes itself', async () => {
    const server = build();
    const [channel, recorder] = await opened(() => server);
    await ask(channel, recorder, 1, 'initialize', INITIALIZE);
    await server.close();
    await recorder.until(() => recorder.closes.length > 0);
    expect(recorder.closes).toMatchObject([{ code: 'connection_lost', delivery: 'sent', server: 's' }]);
    expect(() => channel.send({ jsonrpc: '2.0', method: 'x' })).toThrow(
      expect.objectContaining({ delivery: 'unsent' }),
    );
  });

  it('closes the server, waits for it, and tells once', async () => {
    const server = build();
    const closed = jest.fn();
    server.server.onclose = closed;
    const [channel, recorder] = await opened(() => server);
    await ask(channel, recorder, 1, 'initialize', INITIALIZE);
    await Promise.all([channel.close(1_000), channel.close(1_000)]);
    expect(closed).toHaveBeenCalledTimes(1);
    expect(recorder.closes).toMatchObject([{ code: 'connection_lost', detail: 'the connection was closed' }]);
  });

  it('does not wait for a server longer than the grace time', async () => {
    const virtual = createVirtualClock();
    const channel = channelOf(
      () => ({ connect: (t: SdkTransport) => t.start(), close: () => new Promise(() => {}) }),
      { clock: virtual },
    );
    const recorder = createRecordingReceiver();
    await channel.open(recorder);
    await virtual.settle(channel.close(500));
    expect(recorder.closes).toHaveLength(1);
    expect(virtual.armed).toBe(0);
  });
});
