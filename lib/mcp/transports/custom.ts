/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import type { Clock } from '../../core/clock.ts';
import { TroupeError, isTroupeError } from '../../core/errors.ts';
import type { ErrorCode, ErrorFacts } from '../../core/errors.ts';
import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import { fromSdk } from '../errors.ts';
import type { Channel, ChannelReceiver, SendOptions } from '../wire/channel.ts';
import { DroppedNotifications } from '../wire/dropped-notifications.ts';
import { TokenBucket } from '../wire/token-bucket.ts';
import { answeredId, faultOf } from './parsed-message.ts';
import type { SdkSendOptions, SdkTransport } from './sdk-transport.ts';
import { endsWithin } from './within.ts';

export interface CustomChannelOptions {
  /** Makes a transport of the MCP SDK; called once, when the channel opens. */
  readonly transport: () => SdkTransport | Promise<SdkTransport>;
  readonly limits: Pick<Limits, 'notificationsPerSecond' | 'notificationBurst'>;
  readonly clock: Clock;
  /** Configured name, for errors. */
  readonly server: string;
}

/** Transports that were handed out once: a second use would deliver every message twice (protocol §0, fact 1). */
const used = new WeakSet<object>();
/** Messages kept until `start` has resolved. */
const MAX_EARLY = 1_000;
/** Faults that a transport only mentions in `onerror`, after which it never answers again (protocol §2.6). */
const FATAL_CODES: ReadonlySet<unknown> = new Set([
  'EPIPE',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/**
 * A transport that the user brings, anything with the shape of the SDK's `Transport`. It is trusted to move messages
 * and nothing else: it may throw, hang, close twice or never, speak too early, or say things that are no messages.
 * Size and encoding of what it reads are its own business. `open` ends when the transport has started, or with `close`.
 */
export function createCustomChannel(options: CustomChannelOptions): Channel {
  return new CustomChannel(options);
}

class CustomChannel implements Channel {
  readonly kind = 'custom';
  readonly #options: CustomChannelOptions;
  readonly #server: string;
  /** The transport has parsed them already; this keeps them from going further. */
  readonly #notifications: TokenBucket;
  readonly #dropped: DroppedNotifications;
  #transport: SdkTransport | undefined;
  #receiver: ChannelReceiver | undefined;
  /** Requests with a response stream of their own, and what ends it. */
  readonly #streams = new Map<RequestId, AbortController>();
  #early: unknown[] | undefined = [];
  #failOpening: ((error: TroupeError) => void) | undefined;
  #opened = false;
  #over = false;
  #closing: Promise<void> | undefined;
  /** Why we close it ourselves. */
  #cause: TroupeError | undefined;

  constructor(options: CustomChannelOptions) {
    this.#options = options;
    this.#server = options.server;
    const { limits, clock } = options;
    const now = (): number => clock.now();
    this.#notifications = new TokenBucket(limits.notificationsPerSecond, limits.notificationBurst, now);
    this.#dropped = new DroppedNotifications(this.#notifications, now, options.server);
  }

  get streamPerRequest(): boolean {
    return this.#transport?.hasPerRequestStream === true;
  }

  get sessionId(): string | undefined {
    return this.#transport?.sessionId;
  }

  open(receiver: ChannelReceiver): Promise<void> {
    this.#receiver = receiver;
    return new Promise((resolve, reject) => {
      this.#failOpening = (error) => {
        this.#over = true;
        this.#early = undefined;
        reject(error);
      };
      this.#start().then(resolve, (error: unknown) => this.#failOpening?.(this.#startFault(error)));
    });
  }

  async #start(): Promise<void> {
    if (this.#over) throw this.#closedByUs();
    const transport = await this.#options.transport();
    this.#checkFresh(transport);
    if (this.#over) {
      // Closed meanwhile: nobody else will ever close this one.
      this.#release(transport);
      return;
    }
    this.#transport = transport;
    transport.onmessage = (message: unknown): void => this.#receive(message);
    transport.onerror = (error: unknown): void => this.#onError(error);
    transport.onclose = (): void => {
      const cause = this.#error('connection_lost', 'the transport was closed', { delivery: 'sent' });
      this.#onClose(this.#cause ?? cause);
    };
    try {
      await transport.start();
    } catch (error) {
      // First, since closing it may tell us that it was closed.
      this.#failOpening?.(this.#startFault(error));
      this.#release(transport);
      return;
    }
    if (this.#over) return;
    this.#opened = true;
    this.#failOpening = undefined;
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined) for (const message of early) this.#receive(message);
  }

  #checkFresh(transport: SdkTransport): void {
    const { start, send, close } = (transport ?? {}) as Partial<Record<keyof SdkTransport, unknown>>;
    if (typeof start !== 'function' || typeof send !== 'function' || typeof close !== 'function') {
      throw this.#error(
        'config_invalid',
        '`transport` must return an MCP transport (an object with start, send and close)',
      );
    }
    if (used.has(transport)) {
      throw this.#error(
        'config_invalid',
        '`transport` returned an object it has returned before; a transport is used once, so return a new one per call: `transport: () => new MyTransport()`',
      );
    }
    used.add(transport);
  }

  #startFault(error: unknown): TroupeError {
    if (isTroupeError(error))
      return error.server === undefined ? error.with({ server: this.#server }) : error;
    const fault = fromSdk(error, { server: this.#server, delivery: 'unsent' });
    const vague = fault.code === 'internal' || fault.code === 'connection_lost';
    if (!vague) return fault.delivery === 'unsent' ? fault : fault.with({ delivery: 'unsent' });
    return this.#error('unavailable', `the transport did not start: ${fault.detail}`, {
      data: fault.data,
      cause: error,
    });
  }

  send(message: RpcMessage, options?: SendOptions): void | Promise<void> {
    const transport = this.#transport;
    if (transport === undefined || !this.#opened || this.#over) {
      throw this.#error('connection_lost', 'the transport is not open', { delivery: 'unsent' });
    }
    const id =
      transport.hasPerRequestStream === true && 'method' in message && 'id' in message
        ? message.id
        : undefined;
    const given = id === undefined ? options : this.#withStream(id, options);
    let sent: unknown;
    try {
      sent = transport.send(message, given);
    } catch (error) {
      throw this.#sendFault(error, id);
    }
    if (!isThenable(sent)) return undefined;
    return (sent instanceof Promise ? sent : Promise.resolve(sent)).catch((error: unknown) => {
      throw this.#sendFault(error, id);
    });
  }

  #withStream(id: RequestId, options: SendOptions | undefined): SdkSendOptions {
    const controller = new AbortController();
    this.#streams.set(id, controller);
    return {
      ...options,
      requestSignal: controller.signal,
      onRequestStreamEnd: () => {
        // Only if its answer has not come, and nobody gave it up.
        if (this.#streams.get(id) !== controller || this.#over) return;
        this.#streams.delete(id);
        this.#receiver?.onUnanswered(
          id,
          this.#error('connection_lost', 'the response stream ended without an answer', { delivery: 'sent' }),
        );
      },
    };
  }

  #sendFault(error: unknown, id: RequestId | undefined): TroupeError {
    if (id !== undefined) this.#streams.delete(id);
    const fault = fromSdk(error, { server: this.#server, delivery: 'sent' });
    // What a foreign `send` throws says nothing of a defect of ours.
    return fault.code === 'internal'
      ? this.#error('connection_lost', fault.detail, { delivery: 'sent', cause: error })
      : fault;
  }

  forget(id: RequestId): void {
    const controller = this.#streams.get(id);
    if (controller === undefined) return;
    this.#streams.delete(id);
    controller.abort();
  }

  setProtocolVersion(version: string): void {
    try {
      this.#transport?.setProtocolVersion?.(version);
    } catch (error) {
      this.#onError(error);
    }
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#end(graceMs);
    return this.#closing;
  }

  async #end(graceMs: number): Promise<void> {
    if (this.#over) return;
    const cause = this.#closedByUs();
    this.#cause = cause;
    const transport = this.#transport;
    if (!this.#opened) {
      this.#over = true;
      this.#failOpening?.(cause.with({ delivery: 'unsent' }));
      if (transport === undefined) return;
    }
    if (transport !== undefined) await endsWithin(this.#options.clock, graceMs, goodbye(transport));
    // It may have told us itself, or never tell.
    this.#onClose(cause);
  }

  /** Closes a transport that nobody waits for. */
  #release(transport: SdkTransport): void {
    goodbye(transport).catch(() => {});
  }

  #receive(message: unknown): void {
    if (this.#over) return;
    if (this.#early !== undefined) {
      if (this.#early.length < MAX_EARLY) this.#early.push(message);
      else {
        this.#fail(
          this.#error(
            'limit_exceeded',
            `the transport delivered more than ${MAX_EARLY} messages before it had started`,
            {
              delivery: 'unsent',
            },
          ),
        );
      }
      return;
    }
    // A batch (2025-03-26) that was not taken apart.
    if (Array.isArray(message)) for (const member of message) this.#receiveOne(member);
    else this.#receiveOne(message);
  }

  #receiveOne(message: unknown): void {
    if (this.#over) return;
    const fault = faultOf(message);
    if (fault !== undefined) {
      const error = this.#error('invalid_response', `the transport delivered ${fault.text}`, {
        delivery: 'answered',
      });
      if (fault.id === undefined) this.#receiver?.onOddity(error);
      else {
        this.#streams.delete(fault.id);
        this.#receiver?.onUnanswered(fault.id, error);
      }
      return;
    }
    const known = message as RpcMessage;
    if ('method' in known && !('id' in known)) {
      if (this.#notifications.empty) {
        const told = this.#dropped.another();
        if (told !== undefined) this.#receiver?.onOddity(told);
        return;
      }
      this.#notifications.take();
    }
    const id = answeredId(known);
    if (id !== undefined) this.#streams.delete(id);
    this.#receiver?.onMessage(known);
  }

  #onError(error: unknown): void {
    if (this.#over) return;
    const fault = fromSdk(error, { server: this.#server, delivery: 'sent' });
    const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
    const fatal = FATAL_CODES.has(code) || name === 'SseError' || nameOfClass(error) === 'SseError';
    if (fatal) this.#fail(fault);
    else if (this.#opened) this.#receiver?.onOddity(fault);
  }

  /** The transport is of no more use. */
  #fail(cause: TroupeError): void {
    const transport = this.#transport;
    this.#onClose(cause);
    if (transport !== undefined) this.#release(transport);
  }

  #onClose(cause: TroupeError): void {
    const failOpening = this.#failOpening;
    const wasOver = this.#over;
    this.#over = true;
    this.#closing ??= Promise.resolve();
    this.#streams.clear();
    if (wasOver) return;
    if (this.#opened) this.#receiver?.onClose(cause);
    else failOpening?.(this.#error('unavailable', `the transport did not start: ${cause.detail}`, { cause }));
  }

  #closedByUs(): TroupeError {
    return this.#error('connection_lost', 'the connection was closed', { delivery: 'sent' });
  }

  #error(code: ErrorCode, detail: string, facts: ErrorFacts = {}): TroupeError {
    return new TroupeError(code, detail, { ...facts, server: this.#server });
  }
}

function isThenable(value: unknown): value is PromiseLike<void> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}

function nameOfClass(value: unknown): string | undefined {
  return typeof value === 'object' && value !== null
    ? (value.constructor as { name?: string } | undefined)?.name
    : undefined;
}

/** The polite end of a session where the transport has one (Streamable HTTP of the SDK), then `close`. */
async function goodbye(transport: SdkTransport): Promise<void> {
  const { terminateSession } = transport as { terminateSession?: unknown };
  if (typeof terminateSession === 'function' && transport.sessionId !== undefined) {
    await Promise.resolve(terminateSession.call(transport)).catch(() => {});
  }
  await transport.close();
}
