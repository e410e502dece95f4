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
  /** What was said while no stream stood nobody has heard. */
  gap(): void;
  oddity(error: TroupeError): void;
}

/** A stream that lived as long as this was a success, milliseconds. */
const LONG_LIVED_MS = 10_000;
/** By then the server has the GET that was sent anew, milliseconds. */
const RENEWED_MS = 1_000;
/** There is no such stream, whatever was before: RFC 9110 has both of them say something about the method. */
const NO_SUCH_STREAM: ReadonlySet<number> = new Set([405, 501]);

/**
 * The stream on which a legacy server says what belongs to no request: one GET, opened anew whenever it is lost, as long as
 * the channel lives. A server without one (405) is left alone; many others without one answer 404, or 400 since they look
 * for `initialize` in everything, so a refusal before a first stream stood is taken for the same. Once one has stood, every
 * refusal is of the moment. Whether the session is lost the POSTs tell: they are asked, since a gap has the lists fetched.
 * Silence is normal here: after `listenIdleMs` the GET is renewed, so that a dead peer is found out. A server may send the
 * head of its answer with the first event only; silence before that is the same silence.
 */
export class NotificationStream {
  readonly #host: NotificationHost;
  #exchange: NotificationExchange | undefined;
  #disarm: Disarm | undefined;
  #lastEventId: string | undefined;
  #retryMs: number | undefined;
  #failures = 0;
  #startedAt = 0;
  #openedAt: number | undefined;
  #stood = false;
  /** There was a time without a stream. */
  #missed = false;
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
    this.#startedAt = this.#host.client.clock.now();
    this.#openedAt = undefined;
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
    this.#stood = true;
    // With the id of the last event, the server says again what came after it.
    if (this.#missed && this.#lastEventId === undefined) this.#tellGap();
    this.#missed = false;
  }

  /** The stream ended (no error), went silent, broke, or could not be opened. */
  lost(parser: EventStreamParser | undefined, error: TroupeError | undefined, retryAfter?: number): void {
    if (this.#stopped) return;
    const { client, random } = this.#host;
    this.#exchange = undefined;
    this.#disarm?.();
    this.#missed = true;
    this.#retryMs = parser?.retryMs ?? this.#retryMs;
    this.#lastEventId = parser?.lastEventId ?? this.#lastEventId;
    // Resuming before an event that is too large would bring it again.
    if (error?.code === 'limit_exceeded') this.#lastEventId = undefined;
    const silent = error !== undefined && wasSilent(error);
    const lived = client.clock.now() - (this.#openedAt ?? (silent ? this.#startedAt : Infinity));
    if (lived >= LONG_LIVED_MS) {
      this.#failures = 0;
      this.#challenged = false;
    } else this.#failures += 1;
    // One that we have ended ourselves for its silence is renewed at once.
    if (silent && lived >= LONG_LIVED_MS) {
      this.#renewAfter(0, this.#openedAt === undefined && this.#lastEventId === undefined);
      return;
    }
    if (error !== undefined) this.#host.oddity(error);
    this.#renewAfter(Math.max(reconnectDelay(this.#failures, this.#retryMs, random), retryAfter ?? 0), false);
  }

  refused(refusal: Refusal, used: Readonly<Record<string, string>> | undefined): void {
    if (this.#stopped) return;
    const { status } = refusal;
    const host = this.#host;
    this.#missed = true;
    if (status === 405) {
      this.stop();
      return;
    }
    const wallTime = host.client.clock.wallTime();
    const error = refused(host.server, refusal, wallTime);
    if ((status === 401 || status === 403) && host.credentials !== undefined && !this.#challenged) {
      this.#challenged = true;
      void this.#challenge(host.credentials, refusal, error, used);
    } else if (NO_SUCH_STREAM.has(status) || !(this.#stood || isMomentary(error, status))) {
      this.#giveUp(error);
    } else {
      if (this.#stood && host.sessionId !== undefined && saysSessionLost(refusal)) host.gap();
      this.lost(undefined, error, retryAfterMs(refusal.headers, wallTime));
    }
  }

  async #challenge(
    credentials: HttpCredentials,
    refusal: Refusal,
    error: TroupeError,
    used: Readonly<Record<string, string>> | undefined,
  ): Promise<void> {
    let again: boolean;
    try {
      again =
        credentials.answered?.(refusal.status, refusal.headers) === true ||
        (await credentials.refused({ ...challengeOf(refusal), used: used ?? {} }));
    } catch {
      // Where new ones come from is out of order, or a person is being asked: later, and then it is asked again.
      this.#challenged = false;
      this.lost(undefined, error);
      return;
    }
    if (this.#stopped) return;
    if (again) this.start();
    // What a POST has obtained meanwhile, the next GET takes along.
    else if (this.#stood) this.lost(undefined, error);
    else this.#giveUp(error);
  }

  #giveUp(error: TroupeError): void {
    this.stop();
    this.#host.oddity(error);
  }

  /** `unheard`: the next one too may be told by nothing that it stands. */
  #renewAfter(ms: number, unheard: boolean): void {
    const { clock } = this.#host.client;
    this.#disarm = clock.after(ms, () => {
      this.#disarm = undefined;
      if (unheard) {
        this.#stood = true;
        this.#disarm = clock.after(RENEWED_MS, () => this.#tellGap());
      }
      this.start();
    });
  }

  #tellGap(): void {
    this.#disarm?.();
    this.#disarm = undefined;
    this.#missed = false;
    this.#host.gap();
  }
}

function wasSilent({ data, delivery }: TroupeError): boolean {
  return delivery !== 'unsent' && (data as { reason?: unknown } | undefined)?.reason === 'silent';
}

/** 409: the server has not noticed yet that our last stream is gone. 425: too early. */
function isMomentary({ code }: TroupeError, status: number): boolean {
  return status === 409 || status === 425 || code === 'unavailable' || code === 'rate_limited';
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
