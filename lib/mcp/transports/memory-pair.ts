import { errorText, isError } from '../../core/errors.ts';
import type { RpcMessage } from '../../core/json-rpc.ts';
import type { SdkTransport } from './sdk-transport.ts';

/** Deliveries run as microtasks, which starve timers and sockets; every so many hand the turn back to the event loop. */
const DELIVERIES_PER_TURN = 256;

const DONE = Promise.resolve();
const nextTurn = setImmediate;

/**
 * Two ends of one conversation within the process, each usable as a transport of the MCP SDK. Messages are handed over
 * by reference, not serialised: whoever changes one changes it for both sides. They arrive asynchronously (never
 * inside `send`), in order, each once; what was sent before the other end started waits for it. Closing one end closes
 * the other once it has received what was under way.
 */
export function createMemoryPair(): readonly [client: SdkTransport, server: SdkTransport] {
  const a = new MemoryEnd();
  const b = new MemoryEnd();
  a.join(b);
  b.join(a);
  return [a, b];
}

class MemoryEnd implements SdkTransport {
  onmessage: SdkTransport['onmessage'];
  onclose: SdkTransport['onclose'];
  onerror: SdkTransport['onerror'];
  #peer: MemoryEnd | undefined;
  #inbox: RpcMessage[] = [];
  #started = false;
  #scheduled = false;
  /** The other end is closed: this one follows when its inbox is empty. */
  #ending = false;
  #closed = false;
  #deliveries = 0;
  readonly #drain = (): void => this.#deliverAll();

  join(peer: MemoryEnd): void {
    this.#peer = peer;
  }

  start(): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('Not connected'));
    this.#started = true;
    if (this.#inbox.length > 0 || this.#ending) this.#schedule();
    return DONE;
  }

  send(message: RpcMessage): Promise<void> {
    const peer = this.#peer;
    if (this.#closed || this.#ending || peer === undefined) return Promise.reject(new Error('Not connected'));
    peer.#inbox.push(message);
    peer.#schedule();
    return DONE;
  }

  close(): Promise<void> {
    if (this.#closed) return DONE;
    this.#closed = true;
    this.#inbox = [];
    const peer = this.#peer;
    this.#peer = undefined;
    if (peer !== undefined) {
      peer.#ending = true;
      peer.#schedule();
    }
    this.onclose?.();
    return DONE;
  }

  #schedule(): void {
    if (this.#scheduled || !this.#started) return;
    this.#scheduled = true;
    this.#deliveries += 1;
    if (this.#deliveries % DELIVERIES_PER_TURN === 0) nextTurn(this.#drain);
    else queueMicrotask(this.#drain);
  }

  #deliverAll(): void {
    this.#scheduled = false;
    const batch = this.#inbox;
    this.#inbox = [];
    for (const message of batch) {
      if (this.#closed) return;
      try {
        this.onmessage?.(message);
      } catch (error) {
        this.onerror?.(isError(error) ? error : new Error(errorText(error)));
      }
    }
    if (!this.#ending) return;
    if (this.#inbox.length > 0) this.#schedule();
    else void this.close();
  }
}
