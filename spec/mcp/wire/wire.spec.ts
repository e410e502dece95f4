import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../../lib/core/cancellation.ts';
import { TroupeError } from '../../../lib/core/errors.ts';
import type { RpcMessage, RpcRequest } from '../../../lib/core/json-rpc.ts';
import type { Channel, ChannelKind } from '../../../lib/mcp/wire/channel.ts';
import { createInbound, type Inbound } from '../../../lib/mcp/wire/inbound.ts';
import { Wire } from '../../../lib/mcp/wire/wire.ts';
import { createVirtualClock, type VirtualClock } from '../../support/virtual-clock.ts';

interface Scene {
  readonly wire: Wire;
  readonly inbound: Inbound;
  readonly clock: VirtualClock;
  readonly sent: RpcMessage[];
  /** Requests that the SDK client was given. */
  readonly asked: unknown[];
  readonly oddities: Array<readonly [TroupeError, number]>;
  readonly closes: TroupeError[];
  readonly closedWith: number[];
  readonly gaps: () => number;
}

/** A wire on a channel that reads what a spec says, as those of ours do: only oddities get through beside the messages. */
function scene(kind: ChannelKind = 'stdio'): Scene {
  const clock = createVirtualClock();
  const sent: RpcMessage[] = [];
  const closedWith: number[] = [];
  const channel: Channel = {
    kind,
    streamPerRequest: false,
    sessionId: undefined,
    open: () => Promise.resolve(),
    send: (message) => void sent.push(message),
    forget: () => {},
    setProtocolVersion: () => {},
    close: (graceMs) => {
      closedWith.push(graceMs);
      return Promise.resolve();
    },
  };
  const wire = new Wire(channel, { server: 's', connection: 's#0', clock });
  const inbound = createInbound({
    limits: { messageBytes: 100_000, depth: 100, notificationsPerSecond: 200, notificationBurst: 1_000 },
    now: () => clock.now(),
    receiver: {
      onMessage: (message) => wire.onMessage(message),
      onUnanswered: (id, error) => wire.onUnanswered(id, error),
      onOddity: (error) => wire.onOddity(error),
      onClose: () => {},
    },
  });
  const asked: unknown[] = [];
  const oddities: Array<readonly [TroupeError, number]> = [];
  const closes: TroupeError[] = [];
  let gaps = 0;
  wire.sdkLane.onmessage = (message) => asked.push(message);
  wire.observe({
    onNotification: () => {},
    onClose: (error) => closes.push(error),
    onOddity: (error, count) => oddities.push([error, count]),
    onGap: () => (gaps += 1),
  });
  return { wire, inbound, clock, sent, asked, oddities, closes, closedWith, gaps: () => gaps };
}

const ping = (id: number): string => JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' });
const stray = (id: number): string => JSON.stringify({ jsonrpc: '2.0', id: `q${id}`, result: {} });
const note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}';

/** `perTurn` messages every 10 ms. */
async function pour(
  { inbound, clock }: Scene,
  frame: (n: number) => string,
  perTurn: number,
  forMs: number,
): Promise<void> {
  let n = 0;
  for (let passed = 0; passed < forMs; passed += 10) {
    for (let i = 0; i < perTurn; i += 1) inbound.read(frame(n++));
    await clock.advance(10);
  }
}

describe('requests of a server', () => {
  it('are all handed on in a burst of some hundred, again and again', async () => {
    const s = scene();
    for (let burst = 1; burst <= 3; burst += 1) {
      for (let n = 0; n < 800; n += 1) s.inbound.read(ping(n));
      expect(s.asked).toHaveLength(800 * burst);
      await s.clock.advance(4_000);
    }
    expect(s.oddities).toEqual([]);
  });

  it('are dropped unanswered beyond what is bearable, and that is told now and then', () => {
    const s = scene();
    for (let n = 0; n < 3_000; n += 1) s.inbound.read(ping(n));
    expect([s.asked.length, s.sent.length]).toEqual([2_000, 0]);
    expect(s.oddities.map(([, count]) => count)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    expect(s.oddities[0]?.[0]).toMatchObject({ code: 'limit_exceeded', server: 's' });
    expect(s.closes).toEqual([]);
  });

  it('end the connection where they go on beyond it for seconds', async () => {
    const s = scene();
    await pour(s, ping, 20, 6_000);
    expect(s.closes).toMatchObject([{ code: 'limit_exceeded', server: 's', connection: 's#0' }]);
    expect(s.closedWith).toEqual([0]);
    const { length } = s.asked;
    s.inbound.read(ping(0));
    expect(s.asked).toHaveLength(length);
    expect(s.clock.armed).toBe(0);
  });

  it('do not end it at the rate that is let through', async () => {
    const s = scene();
    await pour(s, ping, 10, 20_000);
    expect(s.asked).toHaveLength(20_000);
    expect([...s.closes, ...s.oddities]).toEqual([]);
  });

  it('are not counted where the server is of this process', async () => {
    const s = scene('in-memory');
    await pour(s, ping, 100, 6_000);
    expect(s.asked).toHaveLength(60_000);
    expect(s.closes).toEqual([]);
  });
});

describe('answers that nobody waits for', () => {
  it('are told now and then, each time with an error made for it', () => {
    const s = scene();
    for (let n = 0; n < 1_000; n += 1) s.inbound.read(stray(n));
    expect(s.oddities.map(([, count]) => count)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    expect(s.oddities[9]?.[0].message).toContain('"q511"');
  });

  it.each([
    ['answers', stray],
    ['malformed ones', (id: number) => `{"id":${id}}`],
  ])('end the connection where they go on for seconds: %s', async (_what, frame) => {
    const s = scene();
    await pour(s, frame, 40, 8_000);
    expect(s.closes).toMatchObject([{ code: 'limit_exceeded' }]);
    expect(s.closedWith).toEqual([0]);
  });

  it('do not when they are only late: each request that was given up may still be answered', async () => {
    const s = scene();
    const dispatcher = s.wire.dispatch({ envelope: undefined }, '2025-11-25');
    const reason = new TroupeError('deadline_exceeded', 'too late');
    const ids: string[] = [];
    for (let n = 0; n < 12_000; n += 1) {
      const cancellation = new Cancellation();
      const call = dispatcher.call({ method: 'tools/call', params: {}, cancellation });
      call.catch(() => {});
      ids.push((s.sent.at(-1) as RpcRequest).id as string);
      cancellation.cancel(reason);
    }
    await pour(s, (n) => JSON.stringify({ jsonrpc: '2.0', id: ids[n], result: {} }), 20, 6_000);
    expect(s.closes).toEqual([]);
  });

  it('do not when a server prints its log where its messages belong', async () => {
    const s = scene();
    await pour(s, (n) => `line ${n}`, 50, 10_000);
    expect(s.closes).toEqual([]);
  });
});

describe('notifications that were dropped', () => {
  it('leave a gap, which is told once there is room again', async () => {
    const s = scene();
    for (let n = 0; n < 1_500; n += 1) s.inbound.read(note);
    expect(s.gaps()).toBe(0);
    await s.clock.advance(60_000);
    expect(s.gaps()).toBe(1);
    expect(s.clock.armed).toBe(0);
  });

  it('leave none where none was dropped', async () => {
    const s = scene();
    for (let n = 0; n < 900; n += 1) s.inbound.read(note);
    await s.clock.advance(60_000);
    expect(s.gaps()).toBe(0);
  });

  it('have it told now and then while more are dropped, and once after the last', async () => {
    const s = scene();
    let gapsAtEnd = 0;
    await pour(s, () => note, 20, 30_000);
    gapsAtEnd = s.gaps();
    expect(gapsAtEnd).toBeGreaterThan(5);
    expect(gapsAtEnd).toBeLessThan(25);
    await s.clock.advance(60_000);
    expect(s.gaps()).toBeGreaterThan(gapsAtEnd);
    expect(s.gaps()).toBeLessThanOrEqual(gapsAtEnd + 2);
    expect(s.closes).toEqual([]);
  });

  it('are forgotten with the connection', async () => {
    const s = scene();
    for (let n = 0; n < 1_500; n += 1) s.inbound.read(note);
    s.wire.onClose(new TroupeError('connection_lost', 'over', { server: 's' }));
    expect(s.clock.armed).toBe(0);
    await s.clock.advance(60_000);
    expect(s.gaps()).toBe(0);
  });
});
