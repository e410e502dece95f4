import type { IncomingHttpHeaders } from 'node:http';
import type { Disarm } from '../../core/clock.ts';
import type { TroupeError } from '../../core/errors.ts';
import { EventStreamParser } from './event-stream.ts';
import { HttpExchange, type HttpClient } from './http-client.ts';
import type { HttpCredentials } from './http-headers.ts';
import { challengeOf, pushEvents } from './http-outgoing.ts';
import {
  REFUSAL_BODY_MS,
  RefusalBody,
  mediaType,
  refused,
  retryAfterMs,
  saysSessionLost,
  type Refusal,
} from './http-refusal.ts';
import { reconnectDelay } from './reconnect.ts';

export interface NotificationHost {
  readonly client: HttpClient;
  readonly server: string;
  readonly random: () => number;
  readonly credentials: HttpCredentials | undefined;
  readonly sessionId: string | undefined;
  /** Sends the GET. */
  listen(exchange: HttpExchange, lastEventId: string | undefined): void;
  heard(frame: Buffer): void;
  sessionLost(refusal: Refusal): void;
  /** What was said while no stream stood nobody has heard. */
  gap(): void;
  oddity(error: TroupeError): void;
}

/** A stream that lived as long as this was a success, milliseconds. */
const LONG_LIVED_MS = 10_000;

/**
 * The stream on which a legacy server says what belongs to no request: one GET, opened anew whenever it is lost, as long as
 * the channel lives. A server without one (405) is left alone. Silence is normal here: after `listenIdleMs` the GET is
 * renewed, so that a dead peer is found out.
 */
export class NotificationStream {
  readonly #host: NotificationHost;
  #exchange: NotificationExchange | undefined;
  #disarm: Disarm | undefined;
  #lastEventId: string | undefined;
  #retryMs: number | undefined;
  #failures = 0;
  #openedAt = 0;
  #stood = false;
  #challenged = false;
  #stopped = false;

  constructor(host: NotificationHost) {
    this.#host = host;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  start(): void {
    if (this.#stopped) return;
    this.#openedAt = Infinity;
    this.#exchange = new NotificationExchange(this.#host, this);
    this.#host.listen(this.#exchange, this.#lastEventId);
  }

  stop(): void {
    this.#stopped = true;
    this.#exchange?.abort();
    this.#disarm?.();
  }

  opened(): void {
    this.#openedAt = this.#host.client.clock.now();
    // With the id of the last event, the server says again what came after it.
    if (this.#stood && this.#lastEventId === undefined) this.#host.gap();
    this.#stood = true;
  }

  /** The stream ended (no error), went silent, broke, or could not be opened. */
  lost(parser: EventStreamParser | undefined, error: TroupeError | undefined, retryAfter?: number): void {
    if (this.#stopped) return;
    const { client, random } = this.#host;
    this.#exchange = undefined;
    this.#retryMs = parser?.retryMs ?? this.#retryMs;
    this.#lastEventId = parser?.lastEventId ?? this.#lastEventId;
    // Resuming before an event that is too large would bring it again.
    if (error?.code === 'limit_exceeded') this.#lastEventId = undefined;
    const lived = client.clock.now() - this.#openedAt;
    const silent = (error?.data as { reason?: unknown } | undefined)?.reason === 'silent';
    if (lived >= LONG_LIVED_MS) {
      this.#failures = 0;
      this.#challenged = false;
    } else this.#failures += 1;
    if (error !== undefined && !(silent && lived >= LONG_LIVED_MS)) this.#host.oddity(error);
    // One that we have ended ourselves for its silence is renewed at once.
    const renewed = silent && lived >= LONG_LIVED_MS;
    const delay = renewed
      ? 0
      : Math.max(reconnectDelay(this.#failures, this.#retryMs, random), retryAfter ?? 0);
    this.#disarm = client.clock.after(delay, () => {
      this.#disarm = undefined;
      this.start();
    });
  }

  refused(refusal: Refusal, used: Readonly<Record<string, string>> | undefined): void {
    if (this.#stopped) return;
    const { status } = refusal;
    const host = this.#host;
    if (status === 405) {
      this.stop();
      return;
    }
    if (host.sessionId !== undefined && saysSessionLost(refusal)) {
      this.stop();
      host.sessionLost(refusal);
      return;
    }
    const wallTime = host.client.clock.wallTime();
    const error = refused(host.server, refusal, wallTime);
    if ((status === 401 || status === 403) && host.credentials !== undefined && !this.#challenged) {
      this.#challenged = true;
      void this.#challenge(host.credentials, refusal, error, used);
    } else if (status === 409 || status === 429 || (status >= 500 && status !== 501)) {
      // 409: the server has not noticed yet that our last stream is gone.
      this.lost(undefined, error, retryAfterMs(refusal.headers, wallTime));
    } else {
      this.stop();
      host.oddity(error);
    }
  }

  async #challenge(
    credentials: HttpCredentials,
    refusal: Refusal,
    error: TroupeError,
    used: Readonly<Record<string, string>> | undefined,
  ): Promise<void> {
    const again =
      credentials.answered?.(refusal.status, refusal.headers) === true ||
      (await credentials.refused({ ...challengeOf(refusal), used: used ?? {} }).catch(() => false));
    if (this.#stopped) return;
    if (again) this.start();
    else {
      this.stop();
      this.#host.oddity(error);
    }
  }
}

class NotificationExchange extends HttpExchange {
  readonly #host: NotificationHost;
  readonly #stream: NotificationStream;
  #parser: EventStreamParser | undefined = undefined;
  #refusal: RefusalBody | undefined = undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};

  constructor(host: NotificationHost, stream: NotificationStream) {
    super(host.client);
    this.#host = host;
    this.#stream = stream;
    this.silence(host.client.limits.listenIdleMs);
  }

  protected override head(status: number, headers: IncomingHttpHeaders): void {
    if (status === 200 && mediaType(headers) === 'text/event-stream') {
      this.#stream.opened();
      this.#parser = new EventStreamParser(this.client.limits.messageBytes, (data, type) => {
        if (type === 'message' && data.length > 0) this.#host.heard(data);
      });
      return;
    }
    this.#status = status;
    this.#headers = headers;
    this.#refusal = new RefusalBody(headers);
    this.endWithin(REFUSAL_BODY_MS);
  }

  protected override body(piece: Buffer): void {
    if (this.#parser !== undefined) pushEvents(this, this.#parser, piece, (error) => this.fail(error));
    else if (this.#refusal?.push(piece) === false) {
      this.abort();
      this.#refused();
    }
  }

  protected override end(): void {
    if (this.#parser === undefined) this.#refused();
    else this.#stream.lost(this.#parser, undefined);
  }

  protected override fail(error: TroupeError): void {
    if (this.#parser === undefined && this.#refusal !== undefined) this.#refused();
    else {
      this.#parser?.stop();
      this.#stream.lost(this.#parser, error);
    }
  }

  override abort(): void {
    this.#parser?.stop();
    super.abort();
  }

  #refused(): void {
    const text = this.#refusal?.text() ?? '';
    this.#stream.refused({ status: this.#status, headers: this.#headers, text }, this.used);
  }
}
