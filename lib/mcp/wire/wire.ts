import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError, type ErrorCode } from '../../core/errors.ts';
import { isJson, type Json, type RequestId, type RpcMessage, type RpcRequest } from '../../core/json-rpc.ts';
import type { Channel, ChannelReceiver } from './channel.ts';
import { Dispatcher, type DispatcherOptions } from './dispatcher.ts';
import { DROPS_TOLD_MS, NOTIFICATIONS_DROPPED } from './dropped-notifications.ts';
import { TokenBucket } from './token-bucket.ts';
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

/**
 * Requests of the server that are handed on: pings, and what it asks of the host, of which `engine/inbound.ts` answers far
 * fewer. The burst is for servers that ask for everything when they start.
 */
const REQUESTS_PER_SECOND = 1_000;
const REQUEST_BURST = 2_000;

/**
 * Answers that nobody waits for, and other faults; late answers do not count. More than the channels let through of
 * garbage (`notificationsPerSecond`), so that a server that prints its log where its messages belong is put up with.
 */
const FAULTS_PER_SECOND = 2_000;
const FAULT_BURST = 4_000;

/** Who goes on beyond these without a pause for so long is hung up on, milliseconds. */
const FLOOD_MS = 3_000;
const PAUSE_MS = 1_000;

/** How long after notifications were dropped the lists are asked for again, so that one list serves a whole burst, milliseconds. */
const GAP_MS = 1_500;

/** One channel with its two lanes, and the switch between them: each message goes to exactly one reader. */
export class Wire implements ChannelReceiver {
  readonly channel: Channel;
  readonly sdkLane: SdkLane;
  readonly server: string;
  readonly connection: string;
  readonly #clock: Pick<Clock, 'now' | 'after'>;
  readonly #requests: Gate;
  readonly #faults: Gate;
  /** Requests that were given up: an answer to one may still come, and is no fault. */
  #owed = 0;
  #dropsToldAt = -Infinity;
  #disarmGap: Disarm | undefined;
  #dispatcher: Dispatcher | undefined;
  #observer: WireObserver | undefined;
  #closeCause: TroupeError | undefined;
  #oddities = 0;
  /** A server can make millions: the 1st, 2nd, 4th, 8th … is told. */
  #tellAt = 1;
  /** The last one before anybody listened. */
  #untold: (() => TroupeError) | undefined;
  #received = 0;

  constructor(
    channel: Channel,
    facts: {
      readonly server: string;
      readonly connection: string;
      readonly clock: Pick<Clock, 'now' | 'after'>;
    },
  ) {
    const { server, connection, clock } = facts;
    // A server in this process is the host's own code.
    const own = channel.kind === 'in-memory';
    this.channel = channel;
    this.server = server;
    this.connection = connection;
    this.#clock = clock;
    this.#requests = new Gate(own ? Infinity : REQUESTS_PER_SECOND, REQUEST_BURST, clock);
    this.#faults = new Gate(own ? Infinity : FAULTS_PER_SECOND, FAULT_BURST, clock);
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
    if (this.#untold !== undefined) this.#tell(observer, this.#untold());
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
      onFailed: (error) => {
        if (error.delivery === 'sent' && this.#owed < FAULT_BURST) this.#owed += 1;
        options.onFailed?.(error);
      },
      batches:
        this.channel.sendBatch !== undefined &&
        (this.channel.kind === 'stdio' || protocolVersion === BATCH_REVISION),
      onOddity: (error) => this.#odd(() => error),
    });
    if (this.#closeCause !== undefined) dispatcher.close(this.#closeCause);
    this.#dispatcher = dispatcher;
    return dispatcher;
  }

  onGap(): void {
    this.#observer?.onGap?.();
  }

  onMessage(message: RpcMessage): void {
    // Nothing follows the end, also where the channel has more of a chunk to read.
    if (this.#closeCause !== undefined) return;
    this.#received += 1;
    if ('method' in message) {
      if ('id' in message) this.#asked(message);
      else this.#notified(message.method, message.params, message);
      return;
    }
    if (this.#dispatcher?.answer(message) === true) return;
    if (this.sdkLane.answer(message)) return;
    this.#faulty(() => {
      const id =
        message.id === undefined || message.id === null
          ? 'no id'
          : `id ${JSON.stringify(message.id).slice(0, 64)}`;
      return this.#fault(
        'invalid_response',
        `an answer to no open request (${id}): late, doubled or foreign`,
      );
    });
  }

  onUnanswered(id: RequestId, error: TroupeError): void {
    if (this.#dispatcher?.unanswered(id, error) === true) return;
    if (!this.sdkLane.unanswered(id, error)) this.onOddity(error);
  }

  onClose(error: TroupeError): void {
    if (this.#closeCause !== undefined) return;
    this.#closeCause = error;
    this.#disarmGap?.();
    this.#dispatcher?.close(error);
    this.sdkLane.closed();
    this.#observer?.onClose(error);
  }

  onOddity(error: TroupeError): void {
    if (isJson(error.data) && error.data['reason'] === NOTIFICATIONS_DROPPED) this.#missed();
    this.#faulty(() => error);
  }

  /** What we find odd ourselves; the server has not sent it. */
  noticed(error: TroupeError): void {
    this.#odd(() => error);
  }

  /**
   * One too many is dropped and not answered: over HTTP an answer is a POST of its own, so whoever floods us would decide what
   * we spend our time on, and would not read the answers either.
   */
  #asked(request: RpcRequest): void {
    if (this.#requests.admits()) this.sdkLane.deliver(request);
    else if (this.#requests.floods)
      this.#hangUp(`the server goes on sending more than ${REQUESTS_PER_SECOND} requests per second`);
    else
      this.#odd(() =>
        this.#fault(
          'limit_exceeded',
          `the server sent more than ${REQUESTS_PER_SECOND} requests per second (burst ${REQUEST_BURST}): ${request.method} was dropped`,
        ),
      );
  }

  #faulty(make: () => TroupeError): void {
    if (this.#owed > 0) this.#owed -= 1;
    else if (!this.#faults.admits() && this.#faults.floods) {
      this.#hangUp(
        `the server goes on sending more than ${FAULTS_PER_SECOND} messages per second that are of no use`,
      );
      return;
    }
    this.#odd(make);
  }

  /** Errors are made for those that are told: a stack costs more than the message that it is about. */
  #odd(make: () => TroupeError): void {
    this.#oddities += 1;
    if (this.#observer === undefined) this.#untold = make;
    else if (this.#oddities >= this.#tellAt) this.#tell(this.#observer, make());
  }

  #tell(observer: WireObserver, error: TroupeError): void {
    this.#tellAt = this.#oddities * 2;
    observer.onOddity(error, this.#oddities);
  }

  /** Ends the connection as if the channel had ended: what is above decides when to try again. */
  #hangUp(detail: string): void {
    if (this.#closeCause !== undefined) return;
    this.onClose(this.#fault('limit_exceeded', detail).with({ delivery: 'sent' }));
    // Not from within its own reading.
    setImmediate(() => void this.channel.close(0).catch(() => {}));
  }

  /** News of a changed list may have been dropped: it is asked for again, once in a while for as long as this goes on. */
  #missed(): void {
    this.#dropsToldAt = this.#clock.now();
    this.#disarmGap ??= this.#clock.after(GAP_MS, () => this.#fillGap(), { unref: true });
  }

  #fillGap(): void {
    this.#disarmGap = undefined;
    this.onGap();
    // Drops are told now and then only: the last ones may have come after the lists were asked for.
    if (this.#clock.now() - this.#dropsToldAt < DROPS_TOLD_MS)
      this.#disarmGap = this.#clock.after(GAP_MS, () => this.#fillGap(), { unref: true });
  }

  #notified(method: string, params: Json | undefined, message: RpcMessage): void {
    if (method === 'notifications/progress' && this.#dispatcher?.progress(params) === true) return;
    if (FOR_SDK.has(method)) this.sdkLane.deliver(message);
    this.#observer?.onNotification(method, params);
  }

  #fault(code: ErrorCode, detail: string): TroupeError {
    return new TroupeError(code, detail, {
      server: this.server,
      connection: this.connection,
      delivery: 'answered',
    });
  }
}

/** Lets through what comes at a bearable rate, and notices who goes on beyond it. */
class Gate {
  readonly #bucket: TokenBucket;
  readonly #clock: Pick<Clock, 'now'>;
  #since = -Infinity;
  #last = -Infinity;

  constructor(rate: number, burst: number, clock: Pick<Clock, 'now'>) {
    this.#bucket = new TokenBucket(rate, burst, () => clock.now());
    this.#clock = clock;
  }

  admits(): boolean {
    if (!this.#bucket.empty) {
      this.#bucket.take();
      return true;
    }
    const now = this.#clock.now();
    if (now - this.#last > PAUSE_MS) this.#since = now;
    this.#last = now;
    return false;
  }

  /** It has been too much for long. */
  get floods(): boolean {
    return this.#last - this.#since >= FLOOD_MS;
  }
}
