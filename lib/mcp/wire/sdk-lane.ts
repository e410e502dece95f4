import type { Transport, TransportSendOptions, JSONRPCMessage } from '@modelcontextprotocol/client';
import type { TroupeError } from '../../core/errors.ts';
import type { RequestId, RpcError, RpcMessage, RpcResult } from '../../core/json-rpc.ts';
import { toSdkError } from '../errors.ts';
import type { Channel } from './channel.ts';

/**
 * The other lane of a channel: what the SDK client sees as its transport. It opens, negotiates, subscribes and answers
 * the server's own requests; the channel has been opened before, so `start` has nothing left to do.
 */
export class SdkLane implements Transport {
  readonly #channel: Channel;
  /** Ids of requests under way, each with the listener for a response stream that ends early. */
  readonly #open = new Map<RequestId, (() => void) | undefined>();
  #closed = false;
  onclose?: (() => void) | undefined;
  onerror?: ((error: Error) => void) | undefined;
  onmessage?: ((message: JSONRPCMessage) => void) | undefined;
  /** Negotiation takes a transport with `pid` and `stderr` for stdio: a silent server is then a legacy one. */
  readonly pid?: number | null;
  readonly stderr?: null;

  constructor(channel: Channel) {
    this.#channel = channel;
    if (channel.kind === 'stdio') {
      this.pid = null;
      this.stderr = null;
    }
  }

  get hasPerRequestStream(): boolean {
    return this.#channel.streamPerRequest;
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  async send(message: JSONRPCMessage, options?: TransportSendOptions): Promise<void> {
    const id = 'id' in message && 'method' in message ? message.id : undefined;
    const signal = options?.requestSignal;
    if (id !== undefined) {
      this.#open.set(id, options?.onRequestStreamEnd);
      signal?.addEventListener('abort', () => this.#forget(id), { once: true });
    }
    try {
      await this.#channel.send(
        message,
        options?.headers === undefined ? undefined : { headers: options.headers },
      );
    } catch (error) {
      if (id !== undefined) this.#open.delete(id);
      throw toSdkError(error);
    }
  }

  /** Closing belongs to the session; the SDK's own wish to close only ends its side. */
  close(): Promise<void> {
    this.closed();
    return Promise.resolve();
  }

  setProtocolVersion(version: string): void {
    this.#channel.setProtocolVersion(version);
  }

  /** Hands over what the server says by itself. */
  deliver(message: RpcMessage): void {
    this.onmessage?.(message as JSONRPCMessage);
  }

  /** Takes the message if it answers a request of this lane. */
  answer(message: RpcResult | RpcError): boolean {
    const id = message.id;
    if (id === undefined || id === null || !this.#open.delete(id)) return false;
    this.onmessage?.(message as JSONRPCMessage);
    return true;
  }

  /** A request of this lane gets no answer: its listener hears of it, or the SDK gets an error in place of the answer. */
  unanswered(id: RequestId, error: TroupeError): boolean {
    if (!this.#open.has(id)) return false;
    const onEnd = this.#open.get(id);
    this.#open.delete(id);
    if (onEnd === undefined) {
      this.onmessage?.({ jsonrpc: '2.0', id, error: { code: STREAM_ENDED, message: error.message } });
    } else onEnd();
    return true;
  }

  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#open.clear();
    this.onclose?.();
  }

  #forget(id: RequestId): void {
    this.#open.delete(id);
    this.#channel.forget(id);
  }
}

/** Implementation-defined JSON-RPC code, as the SDK's own transports use it for a lost answer. */
const STREAM_ENDED = -32000;
