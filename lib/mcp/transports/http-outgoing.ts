import type { IncomingHttpHeaders } from 'node:http';
import type { Disarm } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import { isJson, type Json, type RequestId, type RpcError, type RpcMessage } from '../../core/json-rpc.ts';
import { ByteBuffer } from '../byte-buffer.ts';
import { EventStreamParser } from './event-stream.ts';
import { HttpExchange, type HttpClient } from './http-client.ts';
import {
  REFUSAL_BODY_MS,
  RefusalBody,
  headerText,
  mediaType,
  redirectTarget,
  unexpectedContent,
  type Refusal,
} from './http-refusal.ts';
import { MAX_FAILED_OPENINGS, ONE_A_SECOND, reconnectDelay } from './reconnect.ts';
import type { ListedUnderWay } from './under-way.ts';

/** What a message on its way needs of its channel. */
export interface OutgoingHost {
  readonly client: HttpClient;
  readonly server: string;
  /** No session, no resuming. */
  readonly modern: boolean;
  readonly random: () => number;
  readonly url: URL;
  /** Hands a frame to the inbound checks; what comes of it is credited to `source`. */
  read(frame: Buffer | string, source: Outgoing): void;
  /** The first successful head, and what its headers say. */
  accepted(outgoing: Outgoing, headers: IncomingHttpHeaders): void;
  /** The whole refusal is known: the channel rejects, sends again, or closes. */
  refused(outgoing: Outgoing, refusal: Refusal): void;
  redirected(outgoing: Outgoing, status: number, target: URL): void;
  /** Sends the GET that asks for the rest of a broken response stream. */
  resume(outgoing: Outgoing, exchange: HttpExchange): void;
  /** The GET of a resume was refused; true where new credentials are asked for, and `resumeNow` or `resumeLost` follows. */
  resumeRefused(outgoing: Outgoing, refusal: Refusal, used: HttpExchange['used']): boolean;
  unanswered(id: RequestId, error: TroupeError): void;
  done(outgoing: Outgoing): void;
}

/** What a stream may still say after its last answer, milliseconds; then its socket is closed. */
const DRAIN_MS = 1_000;
/** A server may take its time to hear that something was cancelled, but not a socket that answers to it wait for, milliseconds. */
const CANCEL_MS = 5_000;
/** A body that nobody reads is read no further than this. */
const DISCARD_BYTES = 65_536;
/** Resumes in a row of streams that did not last; at one per second this is ten minutes. */
const MAX_SHORT_RESUMES = 600;
/** A resumed stream that lived as long as this was a success, milliseconds. */
const LONG_LIVED_MS = 10_000;

/**
 * One transmission (a message, or a batch of them) from hand-over until nothing more is expected of it: over a
 * refusal, a second sending, and the resuming of its response stream.
 */
export class Outgoing implements ListedUnderWay {
  before: this | undefined = undefined;
  after: this | undefined = undefined;
  /** Requests of it that have no answer yet. */
  readonly ids: RequestId[];
  readonly messages: readonly RpcMessage[];
  readonly body: Buffer;
  readonly extra: Readonly<Record<string, string>> | undefined;
  /** Settles with the response head. */
  readonly accepted: Promise<void>;
  /** The session id that travelled with it. */
  session: string | undefined = undefined;
  /** Credentials were asked for help once. */
  challenged = false;
  /** Credentials were asked for help with its resuming, once. */
  resumeChallenged = false;
  /** It asks only whether the server knows our session. */
  isQuestion = false;
  /** It was sent again with a new nonce, once. */
  renewed = false;
  /** The credentials that travelled with it. */
  used: Readonly<Record<string, string>> | undefined = undefined;
  redirects = 0;
  lastEventId: string | undefined = undefined;
  /** An error without id came on its stream: what the server makes of a request it could not read. */
  anonymousError: RpcError['error'] | undefined = undefined;
  /** What was wrong with the last frame on its stream. */
  oddity: TroupeError | undefined = undefined;
  readonly #host: OutgoingHost;
  #resolve!: () => void;
  #reject!: (error: TroupeError) => void;
  #headed = false;
  #over = false;
  #exchange: HttpExchange | undefined = undefined;
  #disarm: Disarm | undefined = undefined;
  #retryMs: number | undefined = undefined;
  #resumes = 0;
  #failures = 0;

  constructor(
    host: OutgoingHost,
    messages: readonly RpcMessage[],
    body: Buffer,
    extra: Readonly<Record<string, string>> | undefined,
  ) {
    this.#host = host;
    this.messages = messages;
    this.body = body;
    this.extra = extra;
    this.ids = [];
    for (const message of messages) if ('method' in message && 'id' in message) this.ids.push(message.id);
    this.accepted = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  get over(): boolean {
    return this.#over;
  }

  /** The response head is here, for good or ill. */
  get headed(): boolean {
    return this.#headed;
  }

  /** Whether the server may have acted on it. */
  get sent(): boolean {
    return this.#headed || this.#exchange?.started === true;
  }

  get isListen(): boolean {
    const [message] = this.messages;
    return message !== undefined && 'method' in message && message.method === 'subscriptions/listen';
  }

  /** The method of a single message. */
  get method(): string | undefined {
    const [message] = this.messages;
    return this.messages.length === 1 && message !== undefined && 'method' in message
      ? message.method
      : undefined;
  }

  carry(exchange: HttpExchange): void {
    this.#exchange = exchange;
  }

  accept(): void {
    this.#headed = true;
    this.#resolve();
  }

  /** Takes the answer to one of its requests, once. */
  take(id: RequestId): boolean {
    const at = this.#over ? -1 : this.ids.indexOf(id);
    if (at === -1) return false;
    this.ids.splice(at, 1);
    if (this.ids.length === 0) this.#exchange?.endWithin(DRAIN_MS);
    return true;
  }

  /** Nobody waits for this id any longer; without a request left, the whole transmission ends. */
  drop(id: RequestId): void {
    const at = this.ids.indexOf(id);
    if (at === -1) return;
    this.ids.splice(at, 1);
    if (this.ids.length > 0) return;
    const { server } = this.#host;
    this.stop(new TroupeError('cancelled', 'nobody waits for this request any longer', { server }));
  }

  /** Ends it where it is; a sender still waiting for the head is told `reason`. */
  stop(reason: TroupeError): void {
    if (this.#over) return;
    const delivery = this.sent ? 'sent' : 'unsent';
    this.#exchange?.abort();
    this.#finish();
    if (!this.#headed) this.#reject(reason.with({ delivery }));
    this.#headed = true;
  }

  /** The head was a refusal, or never came: the sender hears of it. */
  reject(error: TroupeError): void {
    if (this.#over) return;
    this.#headed = true;
    this.#finish();
    this.#reject(error);
  }

  /** It was accepted, but these requests get no answer. */
  unanswered(error: TroupeError): void {
    if (this.#over) return;
    const ids = this.ids.splice(0);
    this.#finish();
    for (const id of ids) this.#host.unanswered(id, error);
  }

  failed(error: TroupeError): void {
    if (this.#headed) this.unanswered(error);
    else this.reject(error);
  }

  /** The response is complete. */
  ended(): void {
    if (this.ids.length > 0) this.unanswered(this.#withoutAnswer());
    else if (!this.#over) this.#finish();
  }

  /** Its event stream ended or broke: resumed where the server gave us an id to resume from, else over. */
  streamEnded(parser: EventStreamParser, cause: TroupeError | undefined, livedMs: number): void {
    if (this.ids.length === 0) {
      this.ended();
      return;
    }
    this.#retryMs = parser.retryMs ?? this.#retryMs;
    this.lastEventId = parser.lastEventId ?? this.lastEventId;
    const host = this.#host;
    if (host.modern || this.lastEventId === undefined || cause?.code === 'limit_exceeded') {
      this.unanswered(cause?.code === 'limit_exceeded' ? cause : this.#streamLost(cause));
      return;
    }
    this.#failures = 0;
    this.#resumes = livedMs < LONG_LIVED_MS ? this.#resumes + 1 : 1;
    if (this.#resumes > MAX_SHORT_RESUMES) this.unanswered(this.#streamLost(cause));
    else this.#resumeAfter(reconnectDelay(Math.min(this.#resumes, ONE_A_SECOND), this.#retryMs, host.random));
  }

  /** The GET of a resume did not get through. */
  resumeFailed(error: TroupeError): void {
    this.#failures += 1;
    if (this.#failures > MAX_FAILED_OPENINGS) this.unanswered(this.#streamLost(error));
    else this.#resumeAfter(reconnectDelay(this.#failures, this.#retryMs, this.#host.random));
  }

  /** With credentials that are new. */
  resumeNow(): void {
    if (!this.#over) this.#resumeAfter(0);
  }

  /** Nobody can ask for the rest any more. */
  resumeLost(error: TroupeError): void {
    this.unanswered(this.#streamLost(error));
  }

  #resumeAfter(ms: number): void {
    this.#exchange = undefined;
    this.#disarm = this.#host.client.clock.after(ms, () => {
      this.#disarm = undefined;
      if (this.#over) return;
      const exchange = new ResumeExchange(this.#host, this);
      this.#exchange = exchange;
      this.#host.resume(this, exchange);
    });
  }

  #withoutAnswer(): TroupeError {
    const { server } = this.#host;
    const said = this.anonymousError;
    if (said !== undefined) {
      return new TroupeError('protocol_error', `the server could not read the request: ${said.message}`, {
        server,
        delivery: 'answered',
        data: { code: said.code, data: said.data },
      });
    }
    const cause = this.oddity;
    const detail = 'the response holds no answer to the request';
    return new TroupeError(
      cause?.code ?? 'invalid_response',
      cause === undefined ? detail : `${detail}; ${cause.detail}`,
      {
        server,
        delivery: 'answered',
        cause,
      },
    );
  }

  #streamLost(cause: TroupeError | undefined): TroupeError {
    const { server } = this.#host;
    if (this.anonymousError !== undefined) return this.#withoutAnswer();
    return new TroupeError(
      'connection_lost',
      `the response stream ended without the answer${cause === undefined ? '' : `: ${cause.detail}`}`,
      { server, delivery: 'sent', data: { reason: 'stream_ended' }, cause },
    );
  }

  #finish(): void {
    this.#over = true;
    this.#exchange?.abort();
    this.#exchange = undefined;
    this.#disarm?.();
    this.#disarm = undefined;
    this.#host.done(this);
  }
}

type Mode = 'json' | 'events' | 'refusal' | 'discard';

/** The POST of a transmission and its response. */
export class PostExchange extends HttpExchange {
  readonly #host: OutgoingHost;
  readonly #outgoing: Outgoing;
  #mode: Mode = 'discard';
  #parser: EventStreamParser | undefined = undefined;
  #bytes: ByteBuffer | undefined = undefined;
  #refusal: RefusalBody | undefined = undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #discarded = 0;

  constructor(host: OutgoingHost, outgoing: Outgoing) {
    super(host.client);
    this.#host = host;
    this.#outgoing = outgoing;
    // Requests have a deadline of their own, and may take longer to answer than a stream may be silent.
    if (outgoing.method === 'notifications/cancelled') this.endWithin(CANCEL_MS);
    else if (outgoing.ids.length === 0) this.silence(host.client.limits.requestIdleMs);
  }

  protected override head(status: number, headers: IncomingHttpHeaders): void {
    if (status < 200 || status > 299) {
      this.#refused(status, headers);
      return;
    }
    const outgoing = this.#outgoing;
    const host = this.#host;
    host.accepted(outgoing, headers);
    if (this.over) return;
    if (outgoing.ids.length === 0) {
      outgoing.accept();
      return;
    }
    const { limits } = this.client;
    this.silence(outgoing.isListen ? limits.listenIdleMs : limits.requestIdleMs);
    switch (status === 202 || status === 204 ? '' : mediaType(headers)) {
      case 'application/json':
        this.#mode = 'json';
        outgoing.accept();
        if (Number(headers['content-length']) > limits.messageBytes)
          this.#tooLarge(Number(headers['content-length']));
        else this.#bytes = new ByteBuffer();
        break;
      case 'text/event-stream':
        this.#mode = 'events';
        this.#parser = createParser(host, outgoing);
        outgoing.accept();
        break;
      default:
        this.abort();
        outgoing.reject(unexpectedContent(host.server, status, headers));
    }
  }

  protected override body(piece: Buffer): void {
    switch (this.#mode) {
      case 'json': {
        const bytes = this.#bytes;
        if (bytes === undefined) return;
        if (bytes.length + piece.length > this.client.limits.messageBytes)
          this.#tooLarge(bytes.length + piece.length);
        else bytes.push(piece);
        break;
      }
      case 'events':
        pushEvents(this, this.#parser, piece, (error) => this.fail(error));
        break;
      case 'refusal':
        if (this.#refusal?.push(piece) === true) return;
        this.abort();
        this.#refusalComplete();
        break;
      case 'discard':
        this.#discarded += piece.length;
        if (this.#discarded <= DISCARD_BYTES) return;
        this.abort();
        this.#outgoing.ended();
        break;
    }
  }

  protected override end(): void {
    switch (this.#mode) {
      case 'json': {
        const bytes = this.#bytes?.take();
        if (bytes !== undefined) this.#host.read(bytes, this.#outgoing);
        this.#outgoing.ended();
        break;
      }
      case 'events':
        if (this.#parser !== undefined) this.#outgoing.streamEnded(this.#parser, undefined, 0);
        break;
      case 'refusal':
        this.#refusalComplete();
        break;
      case 'discard':
        this.#outgoing.ended();
        break;
    }
  }

  protected override fail(error: TroupeError): void {
    if (this.#mode === 'events' && this.#parser !== undefined) {
      this.#parser.stop();
      this.#outgoing.streamEnded(this.#parser, error, 0);
    } else if (this.#mode === 'refusal') this.#refusalComplete();
    else if (this.#outgoing.ids.length === 0 && this.#outgoing.headed) this.#outgoing.ended();
    else this.#outgoing.failed(error);
  }

  protected override onSilence(): void {
    if (this.#mode === 'refusal' || (this.#outgoing.headed && this.#outgoing.ids.length === 0)) {
      this.abort();
      if (this.#mode === 'refusal') this.#refusalComplete();
      else this.#outgoing.ended();
    } else super.onSilence();
  }

  override abort(): void {
    this.#parser?.stop();
    super.abort();
  }

  #refused(status: number, headers: IncomingHttpHeaders): void {
    const target = redirectTarget(this.#host.url, status, headers);
    if (target !== undefined) {
      this.abort();
      this.#host.redirected(this.#outgoing, status, target);
      return;
    }
    this.#mode = 'refusal';
    this.#status = status;
    this.#headers = headers;
    this.#refusal = new RefusalBody(headers);
    this.endWithin(REFUSAL_BODY_MS);
  }

  #refusalComplete(): void {
    const text = this.#refusal?.text() ?? '';
    this.#host.refused(this.#outgoing, { status: this.#status, headers: this.#headers, text });
  }

  #tooLarge(atLeast: number): void {
    this.abort();
    this.#outgoing.unanswered(tooLarge(this.client, atLeast));
  }
}

/** The GET that goes on with a broken response stream. */
class ResumeExchange extends HttpExchange {
  readonly #host: OutgoingHost;
  readonly #outgoing: Outgoing;
  #openedAt = 0;
  #parser: EventStreamParser | undefined = undefined;
  #refusal: RefusalBody | undefined = undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};

  constructor(host: OutgoingHost, outgoing: Outgoing) {
    super(host.client);
    this.#host = host;
    this.#outgoing = outgoing;
    this.silence(host.client.limits.requestIdleMs);
  }

  protected override head(status: number, headers: IncomingHttpHeaders): void {
    if (status === 200 && mediaType(headers) === 'text/event-stream') {
      this.#openedAt = this.client.clock.now();
      this.#parser = createParser(this.#host, this.#outgoing);
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
    else this.#outgoing.streamEnded(this.#parser, undefined, this.#lived());
  }

  protected override fail(error: TroupeError): void {
    if (this.#parser !== undefined) {
      this.#parser.stop();
      this.#outgoing.streamEnded(this.#parser, error, this.#lived());
    } else if (this.#refusal !== undefined) this.#refused();
    else this.#outgoing.resumeFailed(error);
  }

  override abort(): void {
    this.#parser?.stop();
    super.abort();
  }

  #lived(): number {
    return this.client.clock.now() - this.#openedAt;
  }

  #refused(): void {
    const refusal = { status: this.#status, headers: this.#headers, text: this.#refusal?.text() ?? '' };
    const { server } = this.#host;
    const error = new TroupeError(
      'connection_lost',
      `resuming the stream was refused with HTTP ${refusal.status}`,
      {
        server,
        delivery: 'sent',
        data: { status: refusal.status },
      },
    );
    if (refusal.status === 429 || refusal.status >= 500) this.#outgoing.resumeFailed(error);
    else if (!this.#host.resumeRefused(this.#outgoing, refusal, this.used)) {
      this.#host.refused(this.#outgoing, refusal);
      this.#outgoing.unanswered(error);
    }
  }
}

function createParser(host: OutgoingHost, outgoing: Outgoing): EventStreamParser {
  return new EventStreamParser(host.client.limits.messageBytes, (data, type) => {
    if (type === 'message' && data.length > 0) host.read(data, outgoing);
  });
}

/** Feeds a parser; what it throws ends the exchange. */
export function pushEvents(
  exchange: HttpExchange,
  parser: EventStreamParser | undefined,
  piece: Buffer,
  fail: (error: TroupeError) => void,
): void {
  try {
    parser?.push(piece);
  } catch (error) {
    exchange.abort();
    const { server } = exchange;
    fail(TroupeError.from(error, { server }).with({ server }));
  }
}

function tooLarge(client: HttpClient, atLeast: number): TroupeError {
  const limit = client.limits.messageBytes;
  return new TroupeError(
    'limit_exceeded',
    `the answer is larger than ${limit} bytes (limit \`messageBytes\`)`,
    {
      server: client.server,
      delivery: 'answered',
      data: { limit, atLeast },
    },
  );
}

/** A refusal that is itself the JSON-RPC answer to `id`. */
export function errorAnswer(refusal: Refusal, id: RequestId | undefined): RpcError['error'] | undefined {
  if (id === undefined || mediaType(refusal.headers) !== 'application/json') return undefined;
  let message: unknown;
  try {
    message = JSON.parse(refusal.text);
  } catch {
    return undefined;
  }
  if (!isJson(message) || message['jsonrpc'] !== '2.0' || message['id'] !== id) return undefined;
  const error = message['error'] as Json | undefined;
  return isJson(error) && typeof error['code'] === 'number' && typeof error['message'] === 'string'
    ? (error as unknown as RpcError['error'])
    : undefined;
}

export function challengeOf(refusal: Refusal): { status: number; wwwAuthenticate: string | undefined } {
  return { status: refusal.status, wwwAuthenticate: headerText(refusal.headers, 'www-authenticate') };
}
