import type { Cancellation } from '../../core/cancellation.ts';
import { TroupeError, errorText, isTroupeError } from '../../core/errors.ts';
import {
  RequestMessage,
  type Json,
  type RequestId,
  type RpcError,
  type RpcRequest,
  type RpcResult,
} from '../../core/json-rpc.ts';
import type { Progress } from '../../core/request.ts';
import { fromRpcError } from '../errors.ts';
import type { Channel } from './channel.ts';
import { isDispatched, PendingTable, idOf, type Waiting } from './pending-table.ts';

/** One ordinary request, ready for the wire. */
export interface Call {
  readonly method: string;
  readonly params: Json | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly cancellation: Cancellation;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** May wait for others of the same turn of the event loop and be sent with them. */
  readonly batch?: boolean | undefined;
}

export interface DispatcherOptions {
  readonly channel: Channel;
  readonly server: string;
  readonly connection: string;
  /**
   * The per-request envelope of the modern era (`_meta`), and whether closing the response stream is the way to
   * cancel. Undefined in the legacy era.
   */
  readonly envelope?: Json | undefined;
  /** The revision and the transport know batches: a JSON-RPC array (2025-03-26 over HTTP), or one write on a pipe. */
  readonly batches: boolean;
  /** When a batch is sent: calls the function later. Default: at the end of the turn of the event loop. */
  readonly later?: ((send: () => void) => void) | undefined;
  readonly onOddity: (error: TroupeError) => void;
  /** Told of each request that fails, before its caller is: some failures are those of the whole session. */
  readonly onFailed?: ((error: TroupeError) => void) | undefined;
}

/** Causes of an end that are faults of the peer, or ours. */
const AT_FAULT: ReadonlySet<string> = new Set([
  'protocol_error',
  'invalid_response',
  'limit_exceeded',
  'internal',
]);
/** Official servers refuse more in one array. */
const MAX_BATCH = 100;

/** To a request it is a lost connection, whatever the peer did to deserve its end. */
function asLoss(cause: TroupeError): TroupeError {
  return AT_FAULT.has(cause.code)
    ? new TroupeError('connection_lost', cause.detail, { data: cause.data, cause })
    : cause;
}

/**
 * The lane of ordinary requests: own string ids, progress, cancel that reaches the server, delivery facts, and
 * results handed on untouched. It owns no timer: deadlines and aborts arrive through the call's cancellation.
 */
export class Dispatcher {
  readonly #pending = new PendingTable<Pending>();
  readonly #channel: Channel;
  readonly #options: DispatcherOptions;
  #envelope: Json | undefined;
  #closed: TroupeError | undefined;
  #idle: (() => void) | undefined;
  #batch: RpcRequest[] = [];

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#channel = options.channel;
    this.#envelope = options.envelope;
  }

  /** Replaces the envelope of later requests, for another log level. */
  setEnvelope(envelope: Json): void {
    this.#envelope = envelope;
  }

  /** Requests handed over and not yet settled. */
  get size(): number {
    return this.#pending.size;
  }

  call(call: Call): Promise<Json> {
    const already = call.cancellation.reason ?? this.#closed;
    if (already !== undefined) return Promise.reject(this.#located(already, 'unsent'));
    const seq = this.#pending.nextSeq();
    const id = idOf(seq);
    const promise = new Promise<Json>(capture);
    const pending = new Pending(this, id, seq, call, capturedResolve, capturedReject);
    // They would hold the result until the next call.
    capturedResolve = capturedReject = ignore;
    const params = this.#params(call, id);
    this.#pending.add(pending);
    const message: RpcRequest =
      params === undefined
        ? { jsonrpc: '2.0', id, method: call.method }
        : new RequestMessage(id, call.method, params);
    // Before it is sent: it may be answered before that returns.
    pending.slot = call.cancellation.listen(pending);
    if (call.batch === true && this.#options.batches) this.#join(message);
    else this.#send(message, call);
    return promise;
  }

  #send(message: RpcRequest, call: Call): void {
    try {
      const accepted = this.#channel.send(
        message,
        call.headers === undefined ? undefined : { headers: call.headers },
      );
      if (accepted !== undefined) accepted.catch((error: unknown) => this.unanswered(message.id, error));
    } catch (error) {
      this.unanswered(message.id, isTroupeError(error) ? error : unserialisable(call.method, error));
    }
  }

  #join(message: RpcRequest): void {
    this.#batch.push(message);
    if (this.#batch.length === 1) (this.#options.later ?? setImmediate)(this.#sendBatch);
  }

  /** Whoever was cancelled while waiting is left out; each of the others has an outcome of its own. */
  readonly #sendBatch = (): void => {
    const waiting = this.#batch.filter(({ id }) => this.#pending.get(id) !== undefined);
    this.#batch = [];
    for (let from = 0; from < waiting.length; from += MAX_BATCH) {
      const group = waiting.slice(from, from + MAX_BATCH);
      const failed = (error: unknown): void => {
        for (const message of group) {
          const { id, method } = message;
          const call = this.#pending.get(id)?.call;
          // One that cannot be written spoils the transmission, but not the others.
          if (group.length > 1 && call !== undefined && isUnwritable(error)) this.#send(message, call);
          else this.unanswered(id, isTroupeError(error) ? error : unserialisable(method, error));
        }
      };
      try {
        const accepted =
          group.length === 1 ? this.#channel.send(group[0] as RpcRequest) : this.#channel.sendBatch?.(group);
        if (accepted !== undefined) accepted.catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  };

  /** Takes the message if it answers a request of this lane. */
  answer(message: RpcResult | RpcError): boolean {
    const id = message.id;
    if (id === undefined || id === null) return false;
    const pending = this.#pending.get(id);
    if (pending === undefined) return false;
    this.#settled(pending);
    if ('result' in message) pending.resolve(message.result);
    else {
      const { server, connection } = this.#options;
      this.#fail(
        pending,
        fromRpcError(message.error, { server, connection, delivery: 'answered' }, pending.call.method),
      );
    }
    return true;
  }

  /** Takes the notification if it is progress of a request of this lane. */
  progress(params: Json | undefined): boolean {
    const token = params?.['progressToken'];
    if (typeof token !== 'string') return false;
    const pending = this.#pending.get(token);
    if (pending === undefined) return isDispatched(token);
    const progress = params?.['progress'];
    if (typeof progress !== 'number' || !Number.isFinite(progress)) return true;
    if (progress <= pending.lastProgress) {
      this.#oddity(
        `progress of ${pending.call.method} went from ${pending.lastProgress} to ${progress}; it must increase`,
      );
      return true;
    }
    pending.lastProgress = progress;
    const total = params?.['total'];
    const message = params?.['message'];
    try {
      pending.call.onProgress?.({
        progress,
        ...(typeof total === 'number' ? { total } : {}),
        ...(typeof message === 'string' ? { message } : {}),
      });
    } catch (error) {
      this.#oddity('the onProgress callback threw', error);
    }
    return true;
  }

  /** The request will not be answered; also the way in which a refused send ends. */
  unanswered(id: RequestId, error: unknown): boolean {
    const pending = this.#pending.get(id);
    if (pending === undefined) return false;
    this.#settled(pending);
    const { server, connection } = this.#options;
    this.#fail(pending, TroupeError.from(error, { server, connection }).with({ server, connection }));
    return true;
  }

  /** Later requests are refused; what is under way may still be answered. */
  refuse(cause: TroupeError): void {
    this.#closed ??= asLoss(cause);
  }

  /** The channel is gone: every pending request fails with its cause, later ones are refused. */
  close(cause: TroupeError): void {
    this.refuse(cause);
    // Not why others were refused before: what was under way then was lost only now.
    const lost = asLoss(cause);
    for (const pending of this.#pending.all()) {
      // Who hears of a failure may have ended the others.
      if (!this.#settled(pending)) continue;
      this.#fail(pending, this.#located(lost, 'sent'));
    }
  }

  /** Stops waiting for everything: each pending request is cancelled at the server and rejects with `reason`. */
  abort(reason: TroupeError): void {
    for (const pending of this.#pending.all()) this.cancel(pending, reason);
  }

  /** Resolves when nothing is pending any more. */
  drained(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /** Tells the server, forgets the id and rejects. */
  cancel(pending: Pending, reason: TroupeError): void {
    const { id } = pending;
    if (this.#pending.get(id) !== pending) return;
    this.#settled(pending);
    const closesStream = this.#envelope !== undefined && this.#channel.streamPerRequest;
    if (!closesStream) this.#tellCancelled(id, reason);
    this.#channel.forget(id);
    this.#fail(pending, this.#located(reason, 'sent'));
  }

  #tellCancelled(id: RequestId, reason: TroupeError): void {
    const envelope = this.#envelope;
    try {
      const sent = this.#channel.send({
        jsonrpc: '2.0',
        method: 'notifications/cancelled',
        params: {
          ...(envelope === undefined ? {} : { _meta: envelope }),
          requestId: id,
          reason: reason.code === 'deadline_exceeded' ? 'deadline exceeded' : reason.detail,
        },
      });
      if (sent !== undefined) sent.catch(() => {});
    } catch {
      // The channel is full or gone: there is nobody left to tell.
    }
  }

  #params(call: Call, id: string): Json | undefined {
    const envelope = this.#envelope;
    const { params } = call;
    if (envelope === undefined && call.onProgress === undefined) return params;
    const own = params?.['_meta'] as Json | undefined;
    if (own === undefined && call.onProgress === undefined) return { ...params, _meta: envelope };
    return {
      ...params,
      _meta: {
        ...envelope,
        ...own,
        ...(call.onProgress === undefined ? {} : { progressToken: id }),
      },
    };
  }

  #fail(pending: Pending, error: TroupeError): void {
    this.#options.onFailed?.(error);
    pending.reject(error);
  }

  /** False where it had settled before. */
  #settled(pending: Pending): boolean {
    if (!this.#pending.delete(pending)) return false;
    pending.call.cancellation.ignore(pending.slot);
    if (this.#pending.size === 0 && this.#idle !== undefined) {
      this.#idle();
      this.#idle = undefined;
    }
    return true;
  }

  #located(error: TroupeError, delivery: 'unsent' | 'sent'): TroupeError {
    const { server, connection } = this.#options;
    return error.with({ server, connection, delivery });
  }

  #oddity(detail: string, cause?: unknown): void {
    const { server, connection } = this.#options;
    this.#options.onOddity(
      new TroupeError('invalid_response', detail, { server, connection, delivery: 'answered', cause }),
    );
  }
}

// The functions of the promise under construction. Its executor runs synchronously, so one executor serves all.
const ignore = (): void => {};
let capturedResolve: (result: Json) => void = ignore;
let capturedReject: (error: TroupeError) => void = ignore;
const capture = (resolve: (result: Json) => void, reject: (error: TroupeError) => void): void => {
  capturedResolve = resolve;
  capturedReject = reject;
};

function isUnwritable(error: unknown): boolean {
  return !isTroupeError(error) || (error.code === 'invalid_request' && error.delivery === 'unsent');
}

/** The only thing of ours that throws on the way to a channel: arguments with a cycle, a BigInt, a throwing `toJSON`. */
function unserialisable(method: string, cause: unknown): TroupeError {
  return new TroupeError(
    'invalid_request',
    `the params of ${method} cannot be written as JSON: ${errorText(cause)}`,
    { cause },
  );
}

/** A request between hand-over and its end; it listens to its cancellation itself. */
class Pending implements Waiting {
  readonly id: string;
  readonly seq: number;
  readonly call: Call;
  readonly resolve: (result: Json) => void;
  readonly reject: (error: TroupeError) => void;
  readonly #owner: Dispatcher;
  slot = -1;
  lastProgress = -Infinity;

  constructor(
    owner: Dispatcher,
    id: string,
    seq: number,
    call: Call,
    resolve: (result: Json) => void,
    reject: (error: TroupeError) => void,
  ) {
    this.#owner = owner;
    this.id = id;
    this.seq = seq;
    this.call = call;
    this.resolve = resolve;
    this.reject = reject;
  }

  onCancel(reason: TroupeError): void {
    this.#owner.cancel(this, reason);
  }
}
