/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import { describe, it, expect, jest } from '@jest/globals';
import { SdkErrorCode, SdkHttpError, UnauthorizedError } from '@modelcontextprotocol/client';
import type { Transport } from '@modelcontextprotocol/client';
import type { Transport as TransportV1 } from '@modelcontextprotocol/sdk/shared/transport.js';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import type { RpcMessage } from '../../../lib/core/json-rpc.ts';
import { createCustomChannel } from '../../../lib/mcp/transports/custom.ts';
import type { CustomChannelOptions } from '../../../lib/mcp/transports/custom.ts';
import type { SdkSendOptions, SdkTransport } from '../../../lib/mcp/transports/sdk-transport.ts';
import type { Channel } from '../../../lib/mcp/wire/channel.ts';
import { INITIALIZE, ask, limitsWith } from '../../support/channel-dialogue.ts';
import { createRecordingReceiver } from '../../support/recording-receiver.ts';
import type { RecordingReceiver } from '../../support/recording-receiver.ts';
import { createScriptedPeer } from '../../support/scripted-peer.ts';
import { createVirtualClock } from '../../support/virtual-clock.ts';

const clock = createVirtualClock();
const note = (n: number): RpcMessage => ({ jsonrpc: '2.0', method: 'n', params: { n } });

/** A transport of which each part may be replaced. */
function transportWith(parts: Partial<SdkTransport> = {}): SdkTransport {
  const transport: SdkTransport = {
    start: () => Promise.resolve(),
    send: () => Promise.resolve(),
    close() {
      transport.onclose?.();
      return Promise.resolve();
    },
    ...parts,
  };
  return transport;
}

function channelOf(transport: CustomChannelOptions['transport'], limits = limitsWith()): Channel {
  return createCustomChannel({ transport, limits, clock, server: 's' });
}

async function opened(transport: SdkTransport): Promise<[Channel, RecordingReceiver]> {
  const channel = channelOf(() => transport);
  const recorder = createRecordingReceiver();
  await channel.open(recorder);
  return [channel, recorder];
}

const failureOf = (opening: Promise<unknown>): Promise<unknown> => opening.catch((error: unknown) => error);

describe('createCustomChannel', () => {
  it('takes transports of both SDKs by type', () => {
    const two = (transport: Transport): Channel => channelOf(() => transport);
    const one = (transport: TransportV1): Channel => channelOf(() => transport);
    expect([two, one]).toHaveLength(2);
  });

  it('talks to a scripted peer', async () => {
    const peer = createScriptedPeer({ tools: ['echo'] });
    const channel = channelOf(() => Promise.resolve(peer.transport));
    const recorder = createRecordingReceiver();
    await channel.open(recorder);
    expect(channel.streamPerRequest).toBe(false);
    await ask(channel, recorder, 1, 'initialize', INITIALIZE);
    const [result] = await Promise.all([
      ask(channel, recorder, 2, 'tools/call', { name: 'echo' }),
      peer.expectRequest('tools/call').reply({ content: [] }),
    ]);
    expect(result).toEqual({ content: [] });
    await channel.close(1_000);
    expect(recorder.closes).toMatchObject([
      { code: 'connection_lost', detail: 'the connection was closed', server: 's' },
    ]);
  });

  it('talks over a transport of SDK 1', async () => {
    const [ours, theirs] = InMemoryTransport.createLinkedPair();
    theirs.onmessage = (message) => {
      const { id } = message as { id: number };
      void theirs.send({ jsonrpc: '2.0', id, result: { ok: true } });
    };
    const channel = channelOf(() => ours);
    const recorder = createRecordingReceiver();
    await channel.open(recorder);
    expect(await ask(channel, recorder, 1, 'x')).toEqual({ ok: true });
    await theirs.close();
    expect(recorder.closes).toMatchObject([{ code: 'connection_lost', detail: 'the transport was closed' }]);
  });

  it('passes the session id on, and the protocol version to the transport', async () => {
    const setProtocolVersion = jest.fn();
    const [channel] = await opened(transportWith({ sessionId: 'abc', setProtocolVersion }));
    channel.setProtocolVersion('2025-06-18');
    expect(setProtocolVersion).toHaveBeenCalledWith('2025-06-18');
    expect(channel.sessionId).toBe('abc');
  });
});

describe('opening', () => {
  it.each<[string, () => unknown, string, RegExp]>([
    [
      'a factory that throws',
      () => {
        throw new Error('no key');
      },
      'unavailable',
      /did not start: no key/,
    ],
    ['a factory that rejects', () => Promise.reject(new Error('no key')), 'unavailable', /no key/],
    ['nothing', () => undefined, 'config_invalid', /must return an MCP transport/],
    ['something else', () => ({ start() {}, close() {} }), 'config_invalid', /start, send and close/],
    [
      'start that throws',
      () =>
        transportWith({
          start() {
            throw new Error('broken');
          },
        }),
      'unavailable',
      /did not start: broken/,
    ],
    [
      'start that rejects',
      () => transportWith({ start: () => Promise.reject(new Error('refused')) }),
      'unavailable',
      /refused/,
    ],
    [
      'no authorization',
      () => transportWith({ start: () => Promise.reject(new UnauthorizedError()) }),
      'auth_required',
      /Unauthorized/,
    ],
    [
      'ECONNREFUSED',
      () =>
        transportWith({
          start: () =>
            Promise.reject(
              new TypeError('fetch failed', {
                cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
              }),
            ),
        }),
      'unavailable',
      /fetch failed/,
    ],
  ])('%s', async (_, factory, code, text) => {
    const recorder = createRecordingReceiver();
    const error = await failureOf(channelOf(factory as CustomChannelOptions['transport']).open(recorder));
    expect(error).toMatchObject({
      code,
      server: 's',
      delivery: 'unsent',
      message: expect.stringMatching(text),
    });
    expect(recorder.closes).toEqual([]);
  });

  it('closes a transport that did not start', async () => {
    const close = jest.fn(() => Promise.resolve());
    await failureOf(
      channelOf(() => transportWith({ start: () => Promise.reject(new Error('x')), close })).open(
        createRecordingReceiver(),
      ),
    );
    expect(close).toHaveBeenCalledTimes(1);
  });

  it('refuses an object that was handed out before', async () => {
    const shared = transportWith();
    const [channel] = await opened(shared);
    await channel.close(10);
    expect(await failureOf(channelOf(() => shared).open(createRecordingReceiver()))).toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('returned an object it has returned before'),
    });
  });

  it('ends with close while start hangs', async () => {
    const close = jest.fn(() => Promise.resolve());
    const recorder = createRecordingReceiver();
    const channel = channelOf(() => transportWith({ start: () => new Promise(() => {}), close }));
    const opening = failureOf(channel.open(recorder));
    await clock.flush();
    await channel.close(1_000);
    expect(await opening).toMatchObject({ code: 'connection_lost', delivery: 'unsent' });
    expect(close).toHaveBeenCalledTimes(1);
    expect(recorder.closes).toEqual([]);
  });

  it('closes a transport that comes after close', async () => {
    let late: (transport: SdkTransport) => void = () => {};
    const channel = channelOf(
      () =>
        new Promise((resolve) => {
          late = resolve;
        }),
    );
    const opening = failureOf(channel.open(createRecordingReceiver()));
    await channel.close(1_000);
    expect(await opening).toMatchObject({ code: 'connection_lost' });
    const start = jest.fn(() => Promise.resolve());
    const close = jest.fn(() => Promise.resolve());
    late(transportWith({ start, close }));
    await clock.flush();
    expect(close).toHaveBeenCalledTimes(1);
    expect(start).not.toHaveBeenCalled();
  });

  it('fails when the transport closes before it has started', async () => {
    const transport = transportWith({ start: () => new Promise(() => {}) });
    const opening = failureOf(channelOf(() => transport).open(createRecordingReceiver()));
    await clock.flush();
    transport.onclose?.();
    expect(await opening).toMatchObject({ code: 'unavailable', delivery: 'unsent' });
  });

  it('keeps messages that come before start has resolved, in order', async () => {
    let started: () => void = () => {};
    const transport = transportWith({
      start: () =>
        new Promise((resolve) => {
          started = resolve;
        }),
    });
    const recorder = createRecordingReceiver();
    const opening = channelOf(() => transport).open(recorder);
    await clock.flush();
    transport.onmessage?.(note(1));
    transport.onmessage?.(note(2));
    expect(recorder.messages).toEqual([]);
    started();
    await opening;
    transport.onmessage?.(note(3));
    expect(recorder.messages).toEqual([note(1), note(2), note(3)]);
  });

  it('does not keep them without end', async () => {
    const transport = transportWith({ start: () => new Promise(() => {}) });
    const opening = failureOf(channelOf(() => transport).open(createRecordingReceiver()));
    await clock.flush();
    for (let n = 0; n <= 1_000; n += 1) transport.onmessage?.(note(n));
    expect(await opening).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('1000 messages'),
    });
  });
});

describe('receiving', () => {
  it('tells what is no message from what is', async () => {
    const transport = transportWith();
    const [, recorder] = await opened(transport);
    const say = (message: unknown): void => transport.onmessage?.(message as RpcMessage);
    for (const odd of [
      undefined,
      null,
      'text',
      7,
      [],
      ['x'],
      {},
      { jsonrpc: '2.0', method: 5 },
      { jsonrpc: '2.0', method: 'x', params: [1] },
    ])
      say(odd);
    say({ jsonrpc: '2.0', id: 1 });
    say({ jsonrpc: '2.0', id: 'two', error: 'no' });
    say({ jsonrpc: '2.0', id: 3, result: [] });
    say([note(1), { jsonrpc: '2.0', id: 4, result: {} }]);
    say({ jsonrpc: '2.0', id: 5, method: 'roots/list' });
    expect(recorder.oddities).toHaveLength(8);
    expect(recorder.unanswered.map(([id, error]) => [id, error.code, error.delivery])).toEqual([
      [1, 'invalid_response', 'answered'],
      ['two', 'invalid_response', 'answered'],
      [3, 'invalid_response', 'answered'],
    ]);
    expect(recorder.messages).toEqual([
      note(1),
      { jsonrpc: '2.0', id: 4, result: {} },
      { jsonrpc: '2.0', id: 5, method: 'roots/list' },
    ]);
  });

  it('limits notifications, and answers never', async () => {
    const transport = transportWith();
    const channel = channelOf(
      () => transport,
      limitsWith({ notificationsPerSecond: 10, notificationBurst: 5 }),
    );
    const recorder = createRecordingReceiver();
    await channel.open(recorder);
    for (let n = 0; n < 20; n += 1) transport.onmessage?.(note(n));
    transport.onmessage?.({ jsonrpc: '2.0', id: 1, result: {} });
    expect(recorder.messages).toHaveLength(6);
    expect(recorder.oddities.map((e) => e.code)).toEqual(Array(4).fill('limit_exceeded'));
    await clock.advance(1_000);
    transport.onmessage?.(note(21));
    expect(recorder.messages).toHaveLength(7);
  });

  it('reports what the transport complains of, and ends where that is the end', async () => {
    const transport = transportWith();
    const [channel, recorder] = await opened(transport);
    transport.onerror?.(new Error('odd frame'));
    expect(recorder.oddities).toMatchObject([{ server: 's', detail: 'odd frame' }]);
    const close = jest.spyOn(transport, 'close');
    transport.onerror?.(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    expect(recorder.closes).toMatchObject([{ code: 'connection_lost', data: { cause: 'EPIPE' } }]);
    expect(close).toHaveBeenCalledTimes(1);
    transport.onmessage?.(note(1));
    transport.onerror?.(new Error('late'));
    expect([recorder.messages.length, recorder.oddities.length]).toEqual([0, 1]);
    await channel.close(10);
  });
});

describe('sending', () => {
  const request: RpcMessage = { jsonrpc: '2.0', id: 1, method: 'x' };

  it('is refused before opening and after the end', async () => {
    const transport = transportWith();
    const closed = expect.objectContaining({ code: 'connection_lost', delivery: 'unsent', server: 's' });
    const channel = channelOf(() => transport);
    expect(() => channel.send(request)).toThrow(closed);
    await channel.open(createRecordingReceiver());
    await channel.close(10);
    expect(() => channel.send(request)).toThrow(closed);
  });

  it.each<[string, Error, object]>([
    ['Not connected', new Error('Not connected'), { code: 'unavailable', delivery: 'unsent' }],
    ['anything', new Error('boom'), { code: 'connection_lost', delivery: 'sent' }],
    [
      'HTTP 404',
      new SdkHttpError(SdkErrorCode.ClientHttpNotImplemented, 'gone', { status: 404 }),
      { code: 'protocol_error', data: { status: 404 } },
    ],
  ])('%s, thrown or rejected', async (_, error, expected) => {
    const thrower = transportWith({
      send() {
        throw error;
      },
    });
    const [throwing] = await opened(thrower);
    expect(() => throwing.send(request)).toThrow(expect.objectContaining(expected));
    const [rejecting] = await opened(transportWith({ send: () => Promise.reject(error) }));
    await expect(rejecting.send(request)).rejects.toMatchObject(expected);
  });

  it('needs no promise', async () => {
    const [channel] = await opened(
      transportWith({ send: (() => undefined) as unknown as SdkTransport['send'] }),
    );
    expect(await channel.send(request)).toBeUndefined();
  });
});

describe('a transport with a stream per request', () => {
  const given: Array<SdkSendOptions | undefined> = [];
  const open = (): Promise<[Channel, RecordingReceiver, SdkTransport]> => {
    given.length = 0;
    const transport = transportWith({
      hasPerRequestStream: true,
      send: (_message, options) => {
        given.push(options);
        return Promise.resolve();
      },
    });
    return opened(transport).then(([channel, recorder]) => [channel, recorder, transport]);
  };
  const request = (id: number): RpcMessage => ({ jsonrpc: '2.0', id, method: 'x' });

  it('gets a signal for requests only, and the headers', async () => {
    const [channel] = await open();
    expect(channel.streamPerRequest).toBe(true);
    await channel.send(note(1), { headers: { a: 'b' } });
    await channel.send({ jsonrpc: '2.0', id: 1, result: {} });
    await channel.send(request(2), { headers: { a: 'c' } });
    expect(given[0]).toEqual({ headers: { a: 'b' } });
    expect(given[1]).toBeUndefined();
    expect(given[2]).toMatchObject({ headers: { a: 'c' } });
    expect(given[2]?.requestSignal?.aborted).toBe(false);
  });

  it('ends the stream of a request nobody waits for', async () => {
    const [channel, recorder] = await open();
    await channel.send(request(1));
    channel.forget(1);
    channel.forget(1);
    expect(given[0]?.requestSignal?.aborted).toBe(true);
    given[0]?.onRequestStreamEnd?.();
    expect(recorder.unanswered).toEqual([]);
  });

  it('reports a stream that ended without an answer, and none that had one', async () => {
    const [channel, recorder, transport] = await open();
    await channel.send(request(1));
    await channel.send(request(2));
    transport.onmessage?.({ jsonrpc: '2.0', id: 1, result: {} });
    given[0]?.onRequestStreamEnd?.();
    given[1]?.onRequestStreamEnd?.();
    given[1]?.onRequestStreamEnd?.();
    expect(recorder.unanswered).toMatchObject([
      [2, { code: 'connection_lost', delivery: 'sent', server: 's' }],
    ]);
  });
});

describe('closing', () => {
  it('tells once, although the transport tells twice', async () => {
    const transport = transportWith();
    const [channel, recorder] = await opened(transport);
    transport.onclose?.();
    transport.onclose?.();
    await channel.close(10);
    expect(recorder.closes).toMatchObject([
      { code: 'connection_lost', detail: 'the transport was closed', delivery: 'sent' },
    ]);
  });

  it.each<[string, Partial<SdkTransport>]>([
    ['never tells', { close: () => Promise.resolve() }],
    ['fails', { close: () => Promise.reject(new Error('x')) }],
    [
      'throws',
      {
        close() {
          throw new Error('x');
        },
      },
    ],
  ])('tells although the transport %s', async (_, parts) => {
    const [channel, recorder] = await opened(transportWith(parts));
    await Promise.all([channel.close(1_000), channel.close(1_000)]);
    expect(recorder.closes).toHaveLength(1);
  });

  it('does not wait longer than the grace time', async () => {
    const [channel, recorder] = await opened(transportWith({ close: () => new Promise(() => {}) }));
    await clock.settle(channel.close(500));
    expect(recorder.closes).toHaveLength(1);
    expect(clock.armed).toBe(0);
  });

  it('ends an HTTP session where the transport can', async () => {
    const terminateSession = jest.fn(() => Promise.reject(new Error('405')));
    const transport = Object.assign(transportWith({ sessionId: 'a' }), { terminateSession });
    const [channel, recorder] = await opened(transport);
    await channel.close(1_000);
    expect(terminateSession).toHaveBeenCalledTimes(1);
    expect(recorder.closes).toHaveLength(1);
  });
});
