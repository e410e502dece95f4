import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { isTroupeError, type TroupeError } from '../../../lib/core/errors.ts';
import type { Json, RpcMessage, RpcResult } from '../../../lib/core/json-rpc.ts';
import type { LaunchedProcess } from '../../../lib/mcp/process.ts';
import { createStdioChannel, type StdioChannelOptions } from '../../../lib/mcp/transports/stdio.ts';
import type { Channel } from '../../../lib/mcp/wire/channel.ts';
import { createRecordingReceiver, type RecordingReceiver } from '../../support/recording-receiver.ts';
import { createNursery } from '../../support/stdio-peer.ts';

// Starting a process takes a second on a busy machine.
jest.setTimeout(60_000);

const nursery = createNursery();
const { clock } = nursery;
const limits = {
  messageBytes: 16_777_216,
  depth: 100,
  notificationsPerSecond: 200,
  notificationBurst: 1000,
  writeQueueBytes: 1_000_000,
};

interface Scene {
  readonly process: LaunchedProcess;
  readonly channel: Channel;
  readonly receiver: RecordingReceiver;
  /** Sends a request and resolves with its result. */
  readonly ask: (params: Json) => Promise<unknown>;
  readonly closed: () => Promise<TroupeError>;
}

afterEach(() => nursery.clear());

let nextId = 1;
const request = (params: Json = {}): RpcMessage & { id: string } => ({
  jsonrpc: '2.0',
  id: `t${nextId++}`,
  method: 'tools/call',
  params,
});

async function open(
  mode: string,
  argument?: string | number,
  over: Partial<StdioChannelOptions> = {},
): Promise<Scene> {
  const process = await nursery.launch(mode, argument);
  const channel = createStdioChannel({ process, limits, clock, server: 'peer', ...over });
  const receiver = createRecordingReceiver();
  await channel.open(receiver);
  const answerTo = (id: string): RpcMessage | undefined =>
    receiver.messages.find((m) => 'id' in m && m.id === id);
  return {
    process,
    channel,
    receiver,
    async ask(params) {
      const message = request(params);
      void channel.send(message);
      await receiver.until(() => answerTo(message.id) !== undefined);
      return (answerTo(message.id) as { result?: unknown }).result;
    },
    async closed() {
      await receiver.until(() => receiver.closes.length > 0);
      return receiver.closes[0] as TroupeError;
    },
  };
}

async function ready(mode: string, over: Partial<StdioChannelOptions> = {}): Promise<Scene> {
  const scene = await open(mode, '', over);
  await scene.receiver.until(() => scene.receiver.messages.length > 0);
  return scene;
}

function caught(work: () => unknown): TroupeError {
  try {
    work();
  } catch (error) {
    if (isTroupeError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('messages', () => {
  it('go there and back', async () => {
    const { channel, ask, receiver } = await open('echo');
    expect(channel.kind).toBe('stdio');
    expect(channel.streamPerRequest).toBe(false);
    expect(channel.sessionId).toBeUndefined();
    expect(await ask({ text: 'Grüße, 世界 🌍\n"\u2028' })).toEqual({ text: 'Grüße, 世界 🌍\n"\u2028' });
    expect(receiver.oddities).toEqual([]);
  });

  it('go through whole and in order, however many at once', async () => {
    const { channel, receiver } = await open('echo');
    const sent = Array.from({ length: 2000 }, (_, i) => request({ i }));
    for (const message of sent) void channel.send(message);
    await receiver.until(() => receiver.messages.length === sent.length, 30_000);
    expect(receiver.messages).toEqual(sent.map(({ id }, i) => ({ jsonrpc: '2.0', id, result: { i } })));
  });

  it('of one turn share a write, the first of them going ahead', async () => {
    const { process, channel, receiver } = await open('echo');
    const write = jest.spyOn(process.stdin, 'write');
    for (let i = 0; i < 100; i += 1) void channel.send(request());
    expect(write).toHaveBeenCalledTimes(1);
    await receiver.until(() => receiver.messages.length === 100);
    expect(write).toHaveBeenCalledTimes(2);
  });

  it('that are large are written at once, in their order, and their memory is used again', async () => {
    const { process, channel, receiver } = await open('echo', '', {
      limits: { ...limits, writeQueueBytes: 100_000_000 },
    });
    const write = jest.spyOn(process.stdin, 'write');
    // Whole megabytes are read in turns, the others where they are; letters of one, two and three bytes.
    const sizes = [10, 40_000, 10, 300_000, 1_200_000, 10, 100_000, 800_000, 20_000, 10];
    const sent = Array.from({ length: 60 }, (_, i) =>
      request({ text: (['x', 'ü', '世'][i % 3] as string).repeat(sizes[i % sizes.length] as number), i }),
    );
    for (const message of sent) void channel.send(message);
    expect(write.mock.calls.length).toBeGreaterThan(40);
    await receiver.until(() => receiver.messages.length === sent.length, 30_000);
    expect(receiver.messages).toEqual(
      sent.map((m) => ({ jsonrpc: '2.0', id: m.id, result: (m as unknown as { params: Json }).params })),
    );
    expect(receiver.oddities).toEqual([]);
  });

  it('of a batch are one write', async () => {
    const { process, channel, receiver } = await open('echo');
    const write = jest.spyOn(process.stdin, 'write');
    const batch = [request({ a: 1 }), request({ a: 2 }), request({ a: 3 })];
    void channel.sendBatch?.(batch);
    void channel.sendBatch?.([]);
    await receiver.until(() => receiver.messages.length === 3);
    expect(write).toHaveBeenCalledTimes(1);
    expect(receiver.messages.map((m) => (m as { result: unknown }).result)).toEqual([
      { a: 1 },
      { a: 2 },
      { a: 3 },
    ]);
  });

  it('wait without listeners or warnings, 5000 in flight', async () => {
    const { process, channel, receiver } = await open('echo');
    for (let i = 0; i < 5000; i += 1) void channel.send(request());
    expect(process.stdin.listenerCount('drain')).toBe(0);
    await receiver.until(() => receiver.messages.length === 5000, 30_000);
    expect(process.stdin.listenerCount('drain')).toBe(0);
  });

  it('may end with a carriage return', async () => {
    const { ask, receiver } = await open('crlf');
    expect(await ask({ a: 1 })).toEqual({ a: 1 });
    expect(receiver.oddities).toEqual([]);
  });

  it('among garbage are found, and the garbage is reported', async () => {
    const { ask, receiver } = await open('garbage');
    expect(await ask({ a: 1 })).toEqual({ a: 1 });
    expect(receiver.oddities.map((error) => error.code)).toEqual(
      Array.from({ length: 4 }, () => 'invalid_response'),
    );
    expect(receiver.oddities[0]?.message).toContain('Server v1.2 starting');
    expect(receiver.oddities[1]?.message).toContain('\\u001b[32mready');
  });

  it('that cannot be written are refused, and nothing else happens', async () => {
    const { channel, ask } = await open('echo');
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    expect(caught(() => channel.send(request(circular)))).toMatchObject({
      code: 'invalid_request',
      delivery: 'unsent',
    });
    expect(caught(() => channel.send(request({ big: 1n })))).toMatchObject({ code: 'invalid_request' });
    expect(await ask({ a: 1 })).toEqual({ a: 1 });
  });

  it('tell when the first byte has come', async () => {
    let told = 0;
    const { ask } = await open('echo', '', { onFirstByte: () => (told += 1) });
    expect(told).toBe(0);
    await ask({});
    await ask({});
    expect(told).toBe(1);
  });
});

describe('large messages', () => {
  it('of 20 MB end the one request they belong to; the channel lives', async () => {
    const { channel, receiver, ask } = await open('big', 20_000_000);
    const message = request();
    void channel.send(message);
    await receiver.until(() => receiver.unanswered.length > 0, 30_000);
    expect(receiver.unanswered).toEqual([
      [message.id, expect.objectContaining({ code: 'limit_exceeded', delivery: 'answered', server: 'peer' })],
    ]);
    expect(await ask({ small: true })).toEqual({ text: '' });
    expect(receiver.closes).toEqual([]);
  });

  it('of 100 MB are read in linear time where they are allowed', async () => {
    const { receiver, channel } = await open('big', 100_000_000, {
      limits: { ...limits, messageBytes: 200_000_000 },
    });
    void channel.send(request());
    // The quadratic reader of the SDK takes more than a minute.
    await receiver.until(() => receiver.messages.length > 0, 30_000);
    expect(((receiver.messages[0] as RpcResult).result as { text: string }).text).toHaveLength(100_000_000);
  });
});

describe('a server that does not read', () => {
  it('gets no more than the write queue holds; then sends are refused as unsent', async () => {
    const { process, channel } = await ready('deaf');
    const text = 'x'.repeat(10_000);
    let accepted = 0;
    const refusal = caught(() => {
      for (;;) {
        void channel.send(request({ text }));
        accepted += 1;
        if (accepted > 10_000) return;
      }
    });
    expect(refusal).toMatchObject({ code: 'queue_full', delivery: 'unsent', server: 'peer' });
    expect(refusal.message).toContain('does not read');
    expect(accepted).toBeGreaterThan(90);
    expect(process.stdin.writableLength).toBeLessThanOrEqual(limits.writeQueueBytes + 20_000);
  });

  it('gets everything that was accepted once it reads again', async () => {
    const { process, channel, receiver, ask } = await ready('deaf-for-a-while');
    const text = 'x'.repeat(10_000);
    const sent: string[] = [];
    const refusal = caught(() => {
      for (;;) {
        const message = request({ text });
        void channel.send(message);
        sent.push(message.id);
      }
    });
    expect(refusal.code).toBe('queue_full');
    globalThis.process.kill(process.pid, 'SIGUSR2');
    await receiver.until(() => receiver.messages.length === sent.length + 1, 30_000);
    expect(receiver.messages.slice(1).map((m) => (m as { id: string }).id)).toEqual(sent);
    expect(await ask({ text })).toEqual({ text });
  });

  it('is sent a single message whatever its size', async () => {
    const { ask } = await open('echo');
    const text = 'x'.repeat(3 * limits.writeQueueBytes);
    expect(await ask({ text })).toEqual({ text });
  });
});

describe('the end', () => {
  it('names the exit code and the last lines of stderr', async () => {
    const { closed, channel, receiver } = await open('exit', 42);
    const error = await closed();
    expect(error).toMatchObject({
      code: 'connection_lost',
      delivery: 'sent',
      server: 'peer',
      data: { code: 42, signal: null, stderr: 'loading\nfatal: no configuration found' },
    });
    expect(error.message).toContain('exited with code 42; stderr: loading | fatal: no configuration found');
    expect(caught(() => channel.send(request()))).toMatchObject({
      code: 'connection_lost',
      delivery: 'unsent',
    });
    await channel.close(1000);
    expect(receiver.closes).toHaveLength(1);
  });

  it('names the signal, and comes fast', async () => {
    const { process, closed } = await ready('ignore-all');
    globalThis.process.kill(process.pid, 'SIGKILL');
    const start = clock.now();
    expect(await closed()).toMatchObject({ data: { code: null, signal: 'SIGKILL' } });
    expect(clock.now() - start).toBeLessThan(1000);
  });

  it('comes after the last words', async () => {
    const { channel, receiver, closed } = await open('last-words');
    const message = request();
    void channel.send(message);
    const error = await closed();
    expect(receiver.messages).toEqual([
      { jsonrpc: '2.0', id: message.id, result: { text: 'z'.repeat(30_000) } },
    ]);
    expect(error.message).toContain('ended by SIGKILL; stderr: bye');
  });

  it('reports half an answer as the answer it is', async () => {
    const { channel, receiver, closed } = await open('partial');
    const message = request();
    void channel.send(message);
    expect(await closed()).toMatchObject({ data: { code: 3 } });
    expect(receiver.unanswered).toEqual([
      [message.id, expect.objectContaining({ code: 'invalid_response' })],
    ]);
  });

  it('is seen although a grandchild holds the pipes', async () => {
    const { channel, closed } = await ready('pipe-holding-child');
    void channel.send(request({ code: 5 }));
    expect(await closed()).toMatchObject({ code: 'connection_lost', data: { code: 5 } });
    await nursery.settle();
  });

  it('is seen when stdout is closed and the process lives', async () => {
    const { process, channel, closed } = await open('close-stdout');
    void channel.send(request());
    const error = await closed();
    expect(error).toMatchObject({ code: 'connection_lost', data: { code: null, signal: null } });
    expect(error.message).toContain('closed its stdout');
    expect(process.exit).toBeUndefined();
    expect(caught(() => channel.send(request()))).toMatchObject({
      code: 'connection_lost',
      delivery: 'unsent',
    });
  });

  it('is seen when stdin is closed, at the next message', async () => {
    const { process, channel, closed } = await ready('close-stdin');
    void channel.send(request());
    const error = await closed();
    expect(error.code).toBe('connection_lost');
    expect(error.message).toContain('reads its stdin no longer');
    expect(process.exit).toBeUndefined();
  });

  it('is polite when we want it, and leaves nothing', async () => {
    const { process, channel, receiver, ask } = await open('echo');
    await ask({});
    void channel.send(request({ last: 1 }));
    void channel.send(request({ last: 2 }));
    const [first, second] = [channel.close(10_000), channel.close(0)];
    expect(caught(() => channel.send(request()))).toMatchObject({
      code: 'connection_lost',
      delivery: 'unsent',
    });
    await Promise.all([first, second]);
    expect(process.exit).toEqual({ code: 0, signal: null });
    // What was accepted before the close was still sent, and answered.
    expect(receiver.messages).toHaveLength(3);
    expect(receiver.closes).toEqual([expect.objectContaining({ code: 'connection_lost' })]);
    expect(receiver.closes[0]?.message).toContain('the connection was closed');
    expect(nursery.left()).toEqual([]);
  });

  it('does not wait longer than it may, and nothing is reported after it', async () => {
    const { process, channel, receiver } = await ready('ignore-all');
    const start = clock.now();
    await channel.close(50);
    expect(clock.now() - start).toBeLessThan(5_000);
    expect(receiver.closes).toHaveLength(1);
    expect(process.exit).toBeUndefined();
    const before = receiver.messages.length;
    // It writes once more when it is told to end.
    await process.terminate({ eofMs: 0, sigtermMs: 300 });
    expect(receiver.messages).toHaveLength(before);
    expect(receiver.closes).toHaveLength(1);
    expect(nursery.left()).toEqual([]);
  });
});

describe('what is left', () => {
  it('after close and stop is nothing: no pipe, process, timer or listener', async () => {
    const held = (): string[] =>
      globalThis.process
        .getActiveResourcesInfo()
        .filter((name) => /Pipe|Process/.test(name))
        .sort();
    // Handles close at the end of a turn of the loop.
    const turns = async (): Promise<void> => {
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
    };
    await turns();
    const before = held();
    const listeners = globalThis.process.listenerCount('exit');
    for (const mode of ['echo', 'ignore-all', 'exit', 'close-stdout', 'pipe-holding-child', 'deaf']) {
      const { process, channel } = await open(mode, 1);
      void channel.close(20);
      await process.terminate({ eofMs: 20, sigtermMs: 20 });
      await channel.close(0);
    }
    await turns();
    expect(held()).toEqual(before);
    expect(globalThis.process.listenerCount('exit')).toBe(listeners);
    expect(nursery.left()).toEqual([]);
  });
});

describe('stderr', () => {
  it('of 1 MB does not block the server, and is bounded in the error', async () => {
    const { channel, ask, process } = await open('stderr', 1_000_000);
    expect(await ask({ a: 1 })).toEqual({ a: 1 });
    await channel.close(5000);
    expect(process.stderrTail()).toHaveLength(8192);
  });

  it('is heard as text, also where characters are cut by chunks; a listener that throws harms nobody', async () => {
    let heard = '';
    const { ask, channel, receiver } = await open('stderr', 500, {
      onStderr: (text) => {
        heard += text;
        throw new Error('defect');
      },
    });
    await ask({});
    await channel.close(5000);
    expect(heard).toContain('the last line\n');
    expect(receiver.oddities[0]).toMatchObject({ code: 'internal' });
  });
});
