import type { TroupeError } from '../../core/errors.ts';
import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';

export type ChannelKind = 'stdio' | 'streamable-http' | 'sse' | 'websocket' | 'in-memory' | 'custom';

export interface SendOptions {
  /** Extra HTTP headers of this message (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`). Ignored where there are none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Where a channel reports to. A channel calls nothing before `open` was called and nothing after `onClose`. */
export interface ChannelReceiver {
  /** One parsed message, within all limits. Delivered in the order received, each exactly once. */
  onMessage(message: RpcMessage): void;
  /**
   * The request with this id will not be answered although the channel lives: its response stream ended, its answer
   * was malformed (`invalid_response`), too large (`limit_exceeded`) or silent for too long. `error.delivery` is `sent` or `answered`.
   */
  onUnanswered(id: RequestId, error: TroupeError): void;
  /** The channel is gone; once, and nothing follows. The error names the cause: exit code and signal, close code, status. */
  onClose(error: TroupeError): void;
  /** Something odd that harms no request: garbage line, dropped notification, failed notification stream. Counted, sampled to the log. */
  onOddity(error: TroupeError): void;
  /** Notifications may have been missed: the stream that carries them was not there for a while. */
  onGap?(): void;
}

/**
 * One conversation with one server, used once: a transport of ours, or a custom SDK transport behind an adapter.
 * It knows messages, not MCP: ids, eras and methods (but for what its HTTP binding prescribes) belong to the session.
 */
export interface Channel {
  readonly kind: ChannelKind;
  /** Each request has a response stream of its own (Streamable HTTP): `forget` closes it. */
  readonly streamPerRequest: boolean;
  /** `Mcp-Session-Id` of a legacy HTTP session. */
  readonly sessionId: string | undefined;
  /** Rejects with a `TroupeError` (delivery `unsent`) when the peer cannot be reached. Called once. */
  open(receiver: ChannelReceiver): Promise<void>;
  /**
   * Hands one message over. Throws a `TroupeError` with delivery `unsent` when it cannot (closed, write queue full).
   * Where the binding acknowledges (HTTP), the promise resolves once the response head was accepted and rejects with
   * the refusal: `data.status` and `data.text` where there was a response, `delivery` as far as it can be known.
   * After a rejection `onUnanswered` is not called for that id.
   */
  send(message: RpcMessage, options?: SendOptions): void | Promise<void>;
  /** Several messages in one transmission: a JSON-RPC array over HTTP (2025-03-26 only), one write on a pipe. */
  sendBatch?(messages: readonly RpcMessage[], options?: SendOptions): void | Promise<void>;
  /** Nobody waits for this id any longer: its stream is closed and late frames for it are dropped. Idempotent. */
  forget(id: RequestId): void;
  /** Told once the revision is negotiated: sets `MCP-Protocol-Version` and the rules of the era. */
  setProtocolVersion(version: string): void;
  /** Ends the conversation; waits at most `graceMs` for a polite end (DELETE of a session, end of stdin). Idempotent; ends with `onClose`. */
  close(graceMs: number): Promise<void>;
}

/** Over HTTP each message goes on a way of its own: one that is refused, or has no answer, says nothing of the others. */
export function postsEach({ kind }: Pick<Channel, 'kind'>): boolean {
  return kind === 'streamable-http' || kind === 'sse';
}
