import type { Json, RequestId, RpcMessage, RpcResult } from '../../lib/core/json-rpc.ts';
import type { Limits } from '../../lib/core/limits.ts';
import type { Channel } from '../../lib/mcp/wire/channel.ts';
import type { RecordingReceiver } from './recording-receiver.ts';

/** Limits as they are by default, with some changed. */
export function limitsWith(change: Partial<Limits> = {}): Limits {
  return {
    messageBytes: 16_777_216,
    depth: 100,
    headerBytes: 16_384,
    writeQueueBytes: 4_194_304,
    notificationsPerSecond: 200,
    notificationBurst: 1_000,
    requestIdleMs: 60_000,
    listenIdleMs: 90_000,
    stderrTailBytes: 65_536,
    serverRequestsAtOnce: 4,
    serverRequestsPerMinute: 30,
    listPages: 64,
    listItems: 10_000,
    listBytes: 33_554_432,
    schemaBytes: 262_144,
    schemaDepth: 32,
    schemaRefs: 256,
    inputRounds: 10,
    ...change,
  };
}

/** Sends a request over an open channel and waits for its result. */
export async function ask(
  channel: Channel,
  recorder: RecordingReceiver,
  id: RequestId,
  method: string,
  params?: Json,
): Promise<Json> {
  await channel.send({ jsonrpc: '2.0', id, method, ...(params && { params }) });
  const isAnswer = (m: RpcMessage): boolean => 'id' in m && m.id === id && !('method' in m);
  await recorder.until(() => recorder.messages.some(isAnswer));
  const answer = recorder.messages.find(isAnswer) as RpcMessage;
  if ('error' in answer) throw new Error(answer.error.message);
  return (answer as RpcResult).result;
}

const META = 'io.modelcontextprotocol/';

/** `params` of a request of the modern era: each names its revision and the client. */
export function modern(params: Json = {}): Json {
  return {
    ...params,
    _meta: {
      [`${META}protocolVersion`]: '2026-07-28',
      [`${META}clientInfo`]: { name: 'spec', version: '1' },
      [`${META}clientCapabilities`]: {},
    },
  };
}

/** `params` of a legacy handshake. */
export const INITIALIZE: Json = {
  protocolVersion: '2025-11-25',
  capabilities: { sampling: {} },
  clientInfo: { name: 'spec', version: '1' },
};
