import { beforeEach, describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../../lib/core/cancellation.ts';
import { TroupeError } from '../../../lib/core/errors.ts';
import type { Json, RpcMessage, RpcRequest } from '../../../lib/core/json-rpc.ts';
import type { Channel } from '../../../lib/mcp/wire/channel.ts';
import { Dispatcher, type Call, type DispatcherOptions } from '../../../lib/mcp/wire/dispatcher.ts';

/** A channel that keeps what it was given. */
class Wiretap implements Channel {
  readonly kind = 'custom';
  readonly sessionId = undefined;
  readonly streamPerRequest: boolean;
  readonly sent: RpcMessage[] = [];
  readonly batches: Array<readonly RpcMessage[]> = [];
  readonly forgotten: unknown[] = [];
  refusal: unknown;
  later: TroupeError | undefined;

  constructor(streamPerRequest = false) {
    this.streamPerRequest = streamPerRequest;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  send(message: RpcMessage): void | Promise<void> {
    if (this.refusal !== undefined) throw this.refusal as Error;
    this.sent.push(structuredClone(message));
    if (this.later !== undefined) return Promise.reject(this.later);
    return undefined;
  }

  sendBatch(messages: readonly RpcMessage[]): void {
    this.batches.push(messages);
  }

  forget(id: unknown): void {
    this.forgotten.push(id);
  }

  setProtocolVersion(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  get lastId(): string {
    return String((this.sent.at(-1) as RpcRequest).id);
  }
}

const oddities: TroupeError[] = [];
const envelope = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' };

function lane(tap: Wiretap, change: Partial<DispatcherOptions> = {}): Dispatcher {
  return new Dispatcher({
    channel: tap,
    server: 's',
    connection: 's#0',
    batches: false,
    onOddity: (error) => oddities.push(error),
    ...change,
  });
}

function call(change: Partial<Call> = {}): Call {
  return { method: 'tools/call', params: { name: 'x' }, cancellation: new Cancellation(), ...change };
}

const result = (id: string, value: Json = { ok: 1 }): { jsonrpc: '2.0'; id: string; result: Json } => ({
  jsonrpc: '2.0',
  id,
  result: value,
});

beforeEach(() => {
  oddities.length = 0;
});

describe('Dispatcher', () => {
  it('matches answers by ids of its own, whatever the order, and hands results on untouched', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    const first = d.call(call());
    const a = tap.lastId;
    const second = d.call(call());
    const b = tap.lastId;
    const value = { vendor: { deep: [1] } };
    expect(d.answer(result(b, value))).toBe(true);
    expect(d.answer(result(a))).toBe(true);
    expect(await second).toBe(value);
    expect(await first).toEqual({ ok: 1 });
    expect(d.size).toBe(0);
  });

  it('leaves alone what is not its own', () => {
    const d = lane(new Wiretap());
    expect(d.answer(result('7'))).toBe(false);
    expect(d.answer({ jsonrpc: '2.0', id: 1, result: {} })).toBe(false);
    expect(d.answer({ jsonrpc: '2.0', error: { code: 1, message: 'x' } })).toBe(false);
    expect(d.unanswered('zz', new Error('x'))).toBe(false);
  });

  it('types error answers and says that they were answered', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    const failed = d.call(call());
    d.answer({ jsonrpc: '2.0', id: tap.lastId, error: { code: -32601, message: 'no such method' } });
    await expect(failed).rejects.toMatchObject({
      code: 'unsupported',
      delivery: 'answered',
      server: 's',
      connection: 's#0',
    });
  });

  it('says unsent when the channel refuses, and keeps what the channel knows of delivery', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    tap.refusal = new TroupeError('queue_full', 'full');
    await expect(d.call(call())).rejects.toMatchObject({
      code: 'queue_full',
      delivery: 'unsent',
      server: 's',
    });
    tap.refusal = undefined;
    tap.later = new TroupeError('connection_lost', 'reset', { delivery: 'sent' });
    await expect(d.call(call())).rejects.toMatchObject({ code: 'connection_lost', delivery: 'sent' });
    expect(d.size).toBe(0);
  });

  it('calls params that cannot be written an invalid request', async () => {
    const tap = new Wiretap();
    tap.refusal = new TypeError('Converting circular structure to JSON');
    await expect(lane(tap).call(call())).rejects.toMatchObject({
      code: 'invalid_request',
      delivery: 'unsent',
    });
  });

  it('tells the server of a cancel, forgets the id and rejects with the reason and what is known', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    const cancellation = new Cancellation();
    const cancelled = d.call(call({ cancellation }));
    const id = tap.lastId;
    cancellation.cancel(new TroupeError('deadline_exceeded', 'late'));
    await expect(cancelled).rejects.toMatchObject({
      code: 'deadline_exceeded',
      delivery: 'sent',
      connection: 's#0',
    });
    expect(tap.sent.at(-1)).toMatchObject({ method: 'notifications/cancelled', params: { requestId: id } });
    expect(tap.forgotten).toEqual([id]);
    expect(d.answer(result(id))).toBe(false);
  });

  it('cancels a modern request over HTTP by closing its stream only', async () => {
    const tap = new Wiretap(true);
    const cancellation = new Cancellation();
    const cancelled = lane(tap, { envelope }).call(call({ cancellation }));
    cancellation.cancel(new TroupeError('cancelled', 'enough'));
    await expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
    expect(tap.sent).toHaveLength(1);
    expect(tap.forgotten).toHaveLength(1);
  });

  it('refuses what is cancelled already without a message', async () => {
    const tap = new Wiretap();
    const cancellation = new Cancellation();
    cancellation.cancel(new TroupeError('cancelled', 'enough'));
    await expect(lane(tap).call(call({ cancellation }))).rejects.toMatchObject({
      code: 'cancelled',
      delivery: 'unsent',
    });
    expect(tap.sent).toEqual([]);
  });

  it('delivers progress that increases, and tells of progress that does not', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    const seen: unknown[] = [];
    const running = d.call(call({ onProgress: (p) => seen.push(p) }));
    const token = tap.lastId;
    expect(tap.sent[0]).toMatchObject({ params: { name: 'x', _meta: { progressToken: token } } });
    expect(d.progress({ progressToken: token, progress: 1, total: 2, message: 'half' })).toBe(true);
    expect(d.progress({ progressToken: token, progress: 0.5 })).toBe(true);
    expect(d.progress({ progressToken: 'foreign', progress: 1 })).toBe(false);
    d.answer(result(token));
    await running;
    expect(seen).toEqual([{ progress: 1, total: 2, message: 'half' }]);
    expect(oddities).toHaveLength(1);
  });

  it('survives a progress callback that throws', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    const running = d.call(
      call({
        onProgress: () => {
          throw new Error('host defect');
        },
      }),
    );
    d.progress({ progressToken: tap.lastId, progress: 1 });
    d.answer(result(tap.lastId));
    await expect(running).resolves.toEqual({ ok: 1 });
    expect(oddities[0]?.message).toContain('onProgress');
  });

  it('puts the envelope under what the caller says', async () => {
    const tap = new Wiretap();
    void lane(tap, { envelope }).call(call({ params: { name: 'x', _meta: { traceparent: 't' } } }));
    expect(tap.sent[0]).toMatchObject({ params: { _meta: { ...envelope, traceparent: 't' } } });
    void lane(tap, { envelope }).call(call({ method: 'tools/list', params: undefined }));
    expect(tap.sent[1]).toMatchObject({ params: { _meta: envelope } });
  });

  it('fails everything when the channel is gone, and refuses what comes later as unsent', async () => {
    const d = lane(new Wiretap());
    const pending = [d.call(call()), d.call(call())];
    d.close(new TroupeError('connection_lost', 'exited with code 3', { delivery: 'sent' }));
    for (const p of pending)
      await expect(p).rejects.toMatchObject({ code: 'connection_lost', delivery: 'sent' });
    await expect(d.call(call())).rejects.toMatchObject({ code: 'connection_lost', delivery: 'unsent' });
  });

  it('says when nothing is pending any more', async () => {
    const tap = new Wiretap();
    const d = lane(tap);
    await d.drained();
    const running = d.call(call());
    let drained = false;
    const done = d.drained().then(() => (drained = true));
    expect(drained).toBe(false);
    d.answer(result(tap.lastId));
    await running;
    await done;
    expect(drained).toBe(true);
  });

  describe('batches', () => {
    const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

    it('sends those of one turn together, at most 100 at once, without those cancelled meanwhile', async () => {
      const tap = new Wiretap();
      const d = lane(tap, { batches: true });
      const gone = new Cancellation();
      const first = d.call(call({ batch: true, cancellation: gone }));
      const rest = Array.from({ length: 150 }, () => d.call(call({ batch: true })));
      gone.cancel(new TroupeError('cancelled', 'enough'));
      await expect(first).rejects.toMatchObject({ code: 'cancelled' });
      await turn();
      expect(tap.batches.map((group) => group.length)).toEqual([100, 50]);
      for (const message of tap.batches.flat()) d.answer(result(String((message as RpcRequest).id)));
      await Promise.all(rest);
    });

    it('sends one alone as itself', async () => {
      const tap = new Wiretap();
      void lane(tap, { batches: true }).call(call({ batch: true }));
      await turn();
      expect(tap.batches).toEqual([]);
      expect(tap.sent).toHaveLength(1);
    });

    it('does not wait where there is no such thing', () => {
      const tap = new Wiretap();
      void lane(tap).call(call({ batch: true }));
      expect(tap.sent).toHaveLength(1);
    });
  });
});
