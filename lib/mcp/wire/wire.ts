import { TroupeError } from '../../core/errors.ts';
import type { Json, RequestId, RpcMessage } from '../../core/json-rpc.ts';
import type { Channel, ChannelReceiver } from './channel.ts';
import { Dispatcher, type DispatcherOptions } from './dispatcher.ts';
import { SdkLane } from './sdk-lane.ts';

/** Who hears what the server says by itself. */
export interface WireObserver {
  onNotification(method: string, params: Json | undefined): void;
  onClose(error: TroupeError): void;
  /** Not every one: `count` is their number so far. */
  onOddity(error: TroupeError, count: number): void;
  /** Notifications may have been missed. */
  onGap?(): void;
}

/** Notifications that the SDK client needs to see: acknowledged subscriptions, and cancels of the server's own requests. */
const FOR_SDK: ReadonlySet<string> = new Set([
  'notifications/subscriptions/acknowledged',
  'notifications/cancelled',
]);

/** JSON-RPC arrays exist in this revision only; on a pipe a batch is one write of single messages, in every revision. */
const BATCH_REVISION = '2025-03-26';

/** One channel with its two lanes, and the switch between them: each message goes to exactly one reader. */
export class Wire implements ChannelReceiver {
  readonly channel: Channel;
  readonly sdkLane: SdkLane;
  readonly server: string;
  readonly connection: string;
  #dispatcher: Dispatcher | undefined;
  #observer: WireObserver | undefined;
  #closeCause: TroupeError | undefined;
  #oddities = 0;
  /** A server can make millions: the 1st, 2nd, 4th, 8th … is told. */
  #tellAt = 1;
  /** The last one before anybody listened. */
  #untold: TroupeError | undefined;
  #received = 0;

  constructor(channel: Channel, facts: { readonly server: string; readonly connection: string }) {
    this.channel = channel;
    this.server = facts.server;
    this.connection = facts.connection;
    this.sdkLane = new SdkLane(channel);
  }

  /** Messages received so far. */
  get received(): number {
    return this.#received;
  }

  /** Why the channel is gone; undefined while it lives. */
  get closeCause(): TroupeError | undefined {
    return this.#closeCause;
  }

  open(): Promise<void> {
    return this.channel.open(this);
  }

  observe(observer: WireObserver): void {
    this.#observer = observer;
    if (this.#untold !== undefined) this.#tell(observer, this.#untold);
    if (this.#closeCause !== undefined) observer.onClose(this.#closeCause);
  }

  /** Opens the lane of ordinary requests, once the era is known. */
  dispatch(
    options: Pick<DispatcherOptions, 'envelope' | 'later' | 'onFailed'>,
    protocolVersion: string,
  ): Dispatcher {
    const dispatcher = new Dispatcher({
      channel: this.channel,
      server: this.server,
      connection: this.connection,
      ...options,
      batches:
        this.channel.sendBatch !== undefined &&
        (this.channel.kind === 'stdio' || protocolVersion === BATCH_REVISION),
      onOddity: (error) => this.onOddity(error),
    });
    if (this.#closeCause !== undefined) dispatcher.close(this.#closeCause);
    this.#dispatcher = dispatcher;
    return dispatcher;
  }

  onGap(): void {
    this.#observer?.onGap?.();
  }

  onMessage(message: RpcMessage): void {
    this.#received += 1;
    if ('method' in message) {
      if ('id' in message) this.sdkLane.deliver(message);
      else this.#notified(message.method, message.params, message);
      return;
    }
    if (this.#dispatcher?.answer(message) === true) return;
    if (this.sdkLane.answer(message)) return;
    const id =
      message.id === undefined || message.id === null
        ? 'no id'
        : `id ${JSON.stringify(message.id).slice(0, 64)}`;
    this.onOddity(this.#fault(`an answer to no open request (${id}): late, doubled or foreign`));
  }

  onUnanswered(id: RequestId, error: TroupeError): void {
    if (this.#dispatcher?.unanswered(id, error) === true) return;
    if (!this.sdkLane.unanswered(id, error)) this.onOddity(error);
  }

  onClose(error: TroupeError): void {
    if (this.#closeCause !== undefined) return;
    this.#closeCause = error;
    this.#dispatcher?.close(error);
    this.sdkLane.closed();
    this.#observer?.onClose(error);
  }

  onOddity(error: TroupeError): void {
    this.#oddities += 1;
    if (this.#observer === undefined) this.#untold = error;
    else if (this.#oddities >= this.#tellAt) this.#tell(this.#observer, error);
  }

  #tell(observer: WireObserver, error: TroupeError): void {
    this.#tellAt = this.#oddities * 2;
    observer.onOddity(error, this.#oddities);
  }

  #notified(method: string, params: Json | undefined, message: RpcMessage): void {
    if (method === 'notifications/progress' && this.#dispatcher?.progress(params) === true) return;
    if (FOR_SDK.has(method)) this.sdkLane.deliver(message);
    this.#observer?.onNotification(method, params);
  }

  #fault(detail: string): TroupeError {
    return new TroupeError('invalid_response', detail, {
      server: this.server,
      connection: this.connection,
      delivery: 'answered',
    });
  }
}
