import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';

/** What travels beside a message to a transport of the MCP SDK. */
export interface SdkSendOptions {
  /** Which request of the other side a message belongs to. Not set by us; the one field that all versions have in common. */
  readonly relatedRequestId?: RequestId;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Aborting it ends the response stream of this one request; only where `hasPerRequestStream` is true. */
  readonly requestSignal?: AbortSignal | undefined;
  /** The response stream of this request ended, and nobody aborted it. */
  readonly onRequestStreamEnd?: (() => void) | undefined;
}

/**
 * The `Transport` interface of the MCP SDK by shape, so that a transport of any SDK version, or of nobody's, fits.
 * Functions are written as methods on purpose: their parameters are compared both ways, and the SDK's own message
 * types, which are narrower than ours, still match.
 */
export interface SdkTransport {
  /** Called once, after the callbacks are set. */
  start(): Promise<void>;
  send(message: RpcMessage, options?: SdkSendOptions): Promise<void>;
  /** Ends with `onclose`. */
  close(): Promise<void>;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: SdkMessageListener['call'] | undefined;
  sessionId?: string | undefined;
  setProtocolVersion?: ((version: string) => void) | undefined;
  readonly hasPerRequestStream?: boolean;
}

interface SdkMessageListener {
  call(message: RpcMessage, extra?: unknown): void;
}
