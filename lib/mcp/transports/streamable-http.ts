import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError, isTroupeError } from '../../core/errors.ts';
import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import type { Random } from '../../core/ports.ts';
import type { Channel, ChannelReceiver, SendOptions } from '../wire/channel.ts';
import { createInbound, type Inbound } from '../wire/inbound.ts';
import { isDispatched } from '../wire/pending-table.ts';
import { HttpClient, HttpExchange, type Lane } from './http-client.ts';
import type { TlsOptions } from './http-guard.ts';
import {
  configuredHeaders,
  isModernRevision,
  namedRevision,
  pushGivenHeaders,
  pushMirrorHeaders,
  withHeaders,
  type HttpCredentials,
} from './http-headers.ts';
import { NotificationStream, type NotificationHost } from './http-notifications.ts';
import { Outgoing, PostExchange, challengeOf, errorAnswer, type OutgoingHost } from './http-outgoing.ts';
import {
  headerText,
  redirected,
  refused,
  saysSessionLost,
  EXPIRY_MS,
  sessionExpired,
  type Refusal,
} from './http-refusal.ts';
import { UnderWay } from './under-way.ts';

/** What the HTTP channels are made of. */
export interface HttpChannelOptions {
  readonly url: URL;
  /** Sent to the origin of `url` and nowhere else. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly random: Random;
  /** Configured name, for errors. */
  readonly server: string;
  readonly tls?: TlsOptions | undefined;
  /** Sockets for requests. Default 256; what must not wait behind requests has 16 of its own. */
  readonly connections?: number | undefined;
  readonly credentials?: HttpCredentials | undefined;
  /** In place of our own pools; its owner closes it. */
  readonly dispatcher?: Dispatcher | undefined;
}

/** The id of a ping of the channel itself. */
const SESSION_QUESTION = 'troupe:session';
/** Whoever has not answered it by then is asked again with the next doubt, milliseconds. */
const QUESTION_MS = 5_000;
const MAX_REDIRECTS = 3;
const MAX_SESSION_ID = 4096;
const METHODS_OF_OPENING: ReadonlySet<string> = new Set(['initialize', 'server/discover']);

/**
 * Streamable HTTP, revisions 2025-03-26 to 2026-07-28: every message a POST, answers as JSON or as an event stream. In
 * the legacy era it keeps the session id, listens on a GET, resumes broken streams and ends the session with DELETE; a
 * modern message has none of these, and giving up its stream cancels it. At most once: no message is sent twice
 * unless the server refused it before looking at it (401, 403, the opening's redirect).
 */
export function createStreamableHttpChannel(options: HttpChannelOptions): Channel {
  return new StreamableHttpChannel(options);
}

class StreamableHttpChannel implements Channel, OutgoingHost, NotificationHost {
  readonly kind = 'streamable-http';
  readonly streamPerRequest = true;
  readonly client: HttpClient;
  readonly server: string;
  readonly random: Random;
  readonly credentials: HttpCredentials | undefined;
  readonly #configured: readonly string[];
  readonly #active = new UnderWay<Outgoing>();
  readonly #inbound: Inbound;
  #receiver: ChannelReceiver | undefined;
  #url: URL;
  #path: string;
  #sessionId: string | undefined;
  #version: string | undefined;
  #notifications: NotificationStream | undefined;
  /** Headers of a POST of the legacy era, until session or version change. */
  #postHeaders: string[] | undefined;
  /** Something was accepted: the URL is right. */
  #succeeded = false;
  /** Whose frame is being read. */
  #source: Outgoing | undefined;
  #expiring: TroupeError | undefined;
  /** Whether the server is being asked if it knows our session. */
  #asking = false;
  #disarmExpiry: Disarm | undefined;
  #closed = false;
  #closing: Promise<void> | undefined;
  #over = false;

  constructor(options: HttpChannelOptions) {
    const { limits, clock, server } = options;
    this.client = new HttpClient(options);
    this.server = server;
    this.random = options.random;
    this.credentials = options.credentials;
    this.#configured = configuredHeaders(options.url, options.headers ?? {}, server);
    this.#url = withoutUser(options.url);
    this.#path = this.#url.pathname + this.#url.search;
    this.#inbound = createInbound({
      limits,
      now: () => clock.now(),
      server,
      receiver: {
        onMessage: (message) => this.#onMessage(message),
        onUnanswered: (id, error) => this.#onMalformed(id, error),
        onOddity: (error) => this.#onOddity(error),
        onClose: () => {},
      },
    });
  }

  get sessionId(): string | undefined {
    return this.#sessionId;
  }

  get modern(): boolean {
    return this.#version !== undefined && isModernRevision(this.#version);
  }

  get url(): URL {
    return this.#url;
  }

  /** There is nothing to open: the first message shows whether the server can be reached. */
  open(receiver: ChannelReceiver): Promise<void> {
    this.#receiver = receiver;
    return Promise.resolve();
  }

  send(message: RpcMessage, options?: SendOptions): Promise<void> {
    const sent = this.#send([message], JSON.stringify(message), options);
    // A cancelled request is waited for by nobody; in the legacy era its POST would stay open at the server.
    if ('method' in message && message.method === 'notifications/cancelled') {
      const id = message.params?.['requestId'];
      if (typeof id === 'string' || typeof id === 'number') this.forget(id);
    }
    return sent;
  }

  sendBatch(messages: readonly RpcMessage[], options?: SendOptions): Promise<void> {
    return this.#send(messages, JSON.stringify(messages), options);
  }

  forget(id: RequestId): void {
    this.#waitingFor(id)?.drop(id);
  }

  setProtocolVersion(version: string): void {
    this.#version = version;
    this.#postHeaders = undefined;
  }

  close(graceMs: number): Promise<void> {
    const cause = new TroupeError('connection_lost', 'the connection was closed', {
      server: this.server,
      delivery: 'sent',
    });
    return this.#close(cause, graceMs);
  }

  // ── what a transmission asks of its channel ──────────────────────────────────────────────────────────────────────

  read(frame: Buffer | string, source: Outgoing): void {
    source.oddity = undefined;
    this.#source = source;
    this.#inbound.read(frame);
    this.#source = undefined;
  }

  accepted(outgoing: Outgoing, headers: IncomingHttpHeaders): void {
    this.#succeeded = true;
    this.credentials?.answered?.(200, headers);
    if (outgoing.method === 'initialize') this.#adoptSession(outgoing, headers);
    else if (outgoing.method === 'notifications/initialized' && !this.modern) {
      this.#notifications ??= new NotificationStream(this);
      this.#notifications.start();
    }
  }

  refused(outgoing: Outgoing, refusal: Refusal): void {
    if (outgoing.over) return;
    const { status } = refusal;
    const answer = outgoing.ids.length === 1 ? errorAnswer(refusal, outgoing.ids[0]) : undefined;
    const loss = this.#lossOf(outgoing, refusal, answer !== undefined);
    // An answer with our id is the server's judgement of the request, whatever its status and words: it may have run.
    if (loss !== undefined && (answer === undefined || outgoing.isQuestion || saysItself(answer))) {
      this.#expire(outgoing, loss);
      return;
    }
    const byStatus = status === 401 || status === 403 || status === 429 || status === 503;
    if (answer !== undefined && !byStatus && !outgoing.headed) {
      this.#succeeded = true;
      outgoing.accept();
      this.read(refusal.text, outgoing);
      outgoing.ended();
      // … but it may have been about the session all the same.
      if (loss !== undefined && mentionsSession(answer)) this.#askForSession();
      return;
    }
    const error = refused(this.server, refusal, this.client.clock.wallTime());
    if ((status === 401 || status === 403) && this.credentials !== undefined && !outgoing.headed) {
      // A nonce may be asked for of credentials that a refusal has just brought.
      if (this.credentials.answered?.(status, refusal.headers) === true && !outgoing.renewed) {
        outgoing.renewed = true;
        this.#postAgain(outgoing);
        return;
      }
      if (!outgoing.challenged) {
        outgoing.challenged = true;
        void this.#challenge(this.credentials, outgoing, refusal, error);
        return;
      }
    }
    if (!outgoing.headed) outgoing.reject(error);
  }

  /** What the refusal says of our session, if it says anything of it. */
  #lossOf(outgoing: Outgoing, refusal: Refusal, isAnswer: boolean): TroupeError | undefined {
    if (outgoing.session !== undefined)
      return saysSessionLost(refusal) ? sessionExpired(this.server, refusal) : undefined;
    // A server that got along without sessions before asks for one now.
    const asks = this.#succeeded && !isAnswer && refusal.status === 400 && /session/i.test(refusal.text);
    return asks && !METHODS_OF_OPENING.has(outgoing.method ?? '')
      ? sessionExpired(this.server, refusal)
      : undefined;
  }

  /** Whether the server still knows our session: what it says to a ping is about nothing else. */
  #askForSession(): void {
    if (this.#asking || this.#expiring !== undefined) return;
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const ping = { jsonrpc: '2.0', id: SESSION_QUESTION, method: 'ping' } as const;
    this.#asking = true;
    const disarm = this.client.clock.after(QUESTION_MS, () => this.forget(SESSION_QUESTION), { unref: true });
    try {
      await this.#send([ping], JSON.stringify(ping), undefined, true);
    } catch {
      // Refused as lost, which has been acted upon, or for another reason, which says nothing.
    } finally {
      disarm();
      this.#asking = false;
    }
  }

  redirected(outgoing: Outgoing, status: number, target: URL): void {
    const opening = !this.#succeeded && METHODS_OF_OPENING.has(outgoing.method ?? '');
    const keepsMethod = status !== 303 && status !== 300;
    if (
      opening &&
      keepsMethod &&
      target.origin === this.client.origin &&
      outgoing.redirects < MAX_REDIRECTS
    ) {
      outgoing.redirects += 1;
      this.#url = withoutUser(target);
      this.#path = this.#url.pathname + this.#url.search;
      this.#postAgain(outgoing);
    } else outgoing.reject(redirected(this.server, status, target));
  }

  resume(outgoing: Outgoing, exchange: HttpExchange): void {
    this.#get(exchange, outgoing.lastEventId, 'request');
  }

  resumeRefused(outgoing: Outgoing, refusal: Refusal, used: HttpExchange['used']): boolean {
    const { credentials } = this;
    const denied = refusal.status === 401 || refusal.status === 403;
    if (!denied || credentials === undefined || outgoing.resumeChallenged) return false;
    outgoing.resumeChallenged = true;
    const lost = refused(this.server, refusal, this.client.clock.wallTime());
    credentials.refused({ ...challengeOf(refusal), used: used ?? NO_HEADERS }).then(
      (again) => (again ? outgoing.resumeNow() : outgoing.resumeLost(lost)),
      (cause: unknown) => outgoing.resumeLost(isTroupeError(cause) ? cause : lost.with({ cause })),
    );
    return true;
  }

  unanswered(id: RequestId, error: TroupeError): void {
    if (id === SESSION_QUESTION) return;
    this.#receiver?.onUnanswered(id, error);
  }

  done(outgoing: Outgoing): void {
    this.#active.delete(outgoing);
    if (this.#expiring !== undefined) this.#expireWhenTold();
  }

  // ── what the notification stream asks ────────────────────────────────────────────────────────────────────────────

  listen(exchange: HttpExchange, lastEventId: string | undefined): void {
    this.#get(exchange, lastEventId, 'control');
  }

  heard(frame: Buffer): void {
    this.#inbound.read(frame);
  }

  gap(): void {
    if (!this.#over) this.#receiver?.onGap?.();
  }

  oddity(error: TroupeError): void {
    if (!this.#over) this.#receiver?.onOddity(error);
  }

  // ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #send(
    messages: readonly RpcMessage[],
    body: string,
    options: SendOptions | undefined,
    isQuestion = false,
  ): Promise<void> {
    const { server } = this;
    if (this.#closed || this.#receiver === undefined)
      throw new TroupeError(
        'unavailable',
        this.#closed ? 'the connection is closed' : 'the connection is not open',
        { server },
      );
    if (this.#expiring !== undefined) throw this.#expiring.with({ delivery: 'unsent' });
    const outgoing = new Outgoing(this, messages, Buffer.from(body), options?.headers);
    outgoing.isQuestion = isQuestion;
    for (const id of outgoing.ids) {
      // Those of the dispatcher are never given twice.
      if (!isDispatched(id) && this.#waitingFor(id) !== undefined)
        throw new TroupeError(
          'invalid_request',
          `a request with id ${JSON.stringify(id)} is already under way`,
          { server },
        );
    }
    this.#active.add(outgoing);
    try {
      this.#post(outgoing);
    } catch (error) {
      // It is heard here; nobody waits for what will not come, and no clock may go on for it.
      outgoing.accepted.catch(() => {});
      outgoing.reject(TroupeError.from(error, { server }));
      throw error;
    }
    return outgoing.accepted;
  }

  #post(outgoing: Outgoing): void {
    if (this.credentials === undefined) {
      this.#dispatch(outgoing, this.#headersOf(outgoing));
      return;
    }
    let given: ReturnType<HttpCredentials['headers']>;
    try {
      given = this.credentials.headers({ method: 'POST', url: this.#url });
    } catch (error) {
      throw this.#withoutCredentials(error);
    }
    if (given instanceof Promise) void this.#postLater(outgoing, given);
    else {
      outgoing.used = given;
      this.#dispatch(outgoing, withHeaders(this.#headersOf(outgoing), given));
    }
  }

  #postAgain(outgoing: Outgoing): void {
    try {
      this.#post(outgoing);
    } catch (error) {
      outgoing.reject(TroupeError.from(error, { server: this.server }));
    }
  }

  async #postLater(outgoing: Outgoing, given: ReturnType<HttpCredentials['headers']>): Promise<void> {
    try {
      const extra = await given;
      outgoing.used = extra;
      if (!outgoing.over) this.#dispatch(outgoing, withHeaders(this.#headersOf(outgoing), extra));
    } catch (error) {
      outgoing.reject(this.#withoutCredentials(error));
    }
  }

  #dispatch(outgoing: Outgoing, headers: string[]): void {
    const exchange = new PostExchange(this, outgoing);
    outgoing.carry(exchange);
    outgoing.session = outgoing.method === 'initialize' ? undefined : this.#sessionId;
    const lane: Lane = outgoing.ids.length > 0 && !outgoing.isListen ? 'request' : 'control';
    this.client.start(exchange, { method: 'POST', path: this.#path, headers, body: outgoing.body }, lane);
  }

  #headersOf(outgoing: Outgoing): string[] {
    const [message] = outgoing.messages;
    const single =
      outgoing.messages.length === 1 && message !== undefined && 'method' in message ? message : undefined;
    const named = namedRevision(single?.params);
    const version = named ?? this.#version;
    if (version !== undefined && isModernRevision(version)) {
      const headers = [...POST_HEADERS, ...this.#configured, 'mcp-protocol-version', version];
      if (single !== undefined) pushMirrorHeaders(headers, single.method, single.params, outgoing.extra);
      else if (outgoing.extra !== undefined) pushGivenHeaders(headers, outgoing.extra);
      return headers;
    }
    // The opening carries neither: it asks for them.
    const base =
      single?.method === 'initialize'
        ? [...POST_HEADERS, ...this.#configured]
        : (this.#postHeaders ??= this.#legacyHeaders(POST_HEADERS));
    if (outgoing.extra === undefined) return base;
    const headers = [...base];
    pushGivenHeaders(headers, outgoing.extra);
    return headers;
  }

  #legacyHeaders(first: readonly string[]): string[] {
    const headers = [...first, ...this.#configured];
    if (this.#sessionId !== undefined) headers.push('mcp-session-id', this.#sessionId);
    if (this.#version !== undefined) headers.push('mcp-protocol-version', this.#version);
    return headers;
  }

  #get(exchange: HttpExchange, lastEventId: string | undefined, lane: Lane): void {
    const headers = this.#legacyHeaders(GET_HEADERS);
    if (lastEventId !== undefined) headers.push('last-event-id', lastEventId);
    void this.#startWithCredentials(exchange, 'GET', headers, lane);
  }

  async #startWithCredentials(
    exchange: HttpExchange,
    method: 'GET' | 'DELETE',
    headers: string[],
    lane: Lane,
  ): Promise<void> {
    try {
      const extra = await this.credentials?.headers({ method, url: this.#url });
      if (exchange.over) return;
      exchange.used = extra;
      this.client.start(exchange, { method, path: this.#path, headers: withHeaders(headers, extra) }, lane);
    } catch (error) {
      exchange.refuse(this.#withoutCredentials(error));
    }
  }

  async #challenge(
    credentials: HttpCredentials,
    outgoing: Outgoing,
    refusal: Refusal,
    error: TroupeError,
  ): Promise<void> {
    try {
      const again = await credentials.refused({ ...challengeOf(refusal), used: outgoing.used ?? NO_HEADERS });
      if (outgoing.over) return;
      if (again) this.#postAgain(outgoing);
      else outgoing.reject(error);
    } catch (cause) {
      outgoing.reject(isTroupeError(cause) ? cause : error.with({ cause }));
    }
  }

  #withoutCredentials(error: unknown): TroupeError {
    const { server } = this;
    if (isTroupeError(error)) return error;
    return new TroupeError('auth_required', 'no credentials could be obtained', { server, cause: error });
  }

  #adoptSession(outgoing: Outgoing, headers: IncomingHttpHeaders): void {
    const id = headerText(headers, 'mcp-session-id');
    if (id === undefined || id === '') return;
    if (id.length <= MAX_SESSION_ID && /^[\u0021-\u007e]+$/.test(id)) {
      this.#sessionId = id;
      this.#postHeaders = undefined;
      return;
    }
    outgoing.reject(
      new TroupeError(
        'invalid_response',
        'the Mcp-Session-Id of the server is not visible ASCII of at most 4096 characters',
        {
          server: this.server,
          delivery: 'answered',
        },
      ),
    );
  }

  // ── receiving ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onMessage(message: RpcMessage): void {
    if (this.#over) return;
    if (!('method' in message) && message.id === SESSION_QUESTION) {
      this.#isAwaited(SESSION_QUESTION);
      return;
    }
    if (!('method' in message) && !this.#isAwaited(message.id ?? undefined)) {
      if (
        'error' in message &&
        (message.id === undefined || message.id === null) &&
        this.#source !== undefined
      )
        this.#source.anonymousError = message.error;
      else this.oddity(this.#strayAnswer(message.id));
      return;
    }
    this.#receiver?.onMessage(message);
  }

  /** A response stream answers its own requests only; the notification stream may answer any (resumed by the server). */
  #isAwaited(id: RequestId | undefined): boolean {
    if (id === undefined) return false;
    const outgoing = this.#source ?? this.#waitingFor(id);
    return outgoing?.take(id) === true;
  }

  /** Seldom asked: an answer comes on the stream of its request. */
  #waitingFor(id: RequestId): Outgoing | undefined {
    return this.#active.find(({ ids }) => ids.includes(id));
  }

  #onMalformed(id: RequestId, error: TroupeError): void {
    if (this.#over) return;
    if (this.#isAwaited(id)) this.#receiver?.onUnanswered(id, error);
    else this.#onOddity(error);
  }

  #onOddity(error: TroupeError): void {
    if (this.#source !== undefined) this.#source.oddity = error;
    this.oddity(error);
  }

  #strayAnswer(id: RequestId | null | undefined): TroupeError {
    return new TroupeError(
      'invalid_response',
      `an answer to no request of its stream (id ${JSON.stringify(id)?.slice(0, 64)})`,
      {
        server: this.server,
        delivery: 'answered',
      },
    );
  }

  // ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The session is gone. Requests sent with it are about to be refused like this one, which proves them unsent: they are
   * heard before the channel closes.
   */
  #expire(outgoing: Outgoing, error: TroupeError): void {
    this.#expiring ??= error;
    if (outgoing.headed) this.#expireWhenTold();
    else outgoing.reject(error);
  }

  #expireWhenTold(): void {
    const cause = this.#expiring;
    if (cause === undefined || this.#closed) return;
    let untold = false;
    for (const outgoing of this.#active) untold ||= !outgoing.headed;
    const end = (): void => void this.#close(cause.with({ delivery: 'sent' }), 0);
    if (untold) this.#disarmExpiry ??= this.client.clock.after(EXPIRY_MS, end);
    // One turn later, so that who was refused hears of it first.
    else queueMicrotask(end);
  }

  #close(cause: TroupeError, graceMs: number): Promise<void> {
    this.#closing ??= this.#end(cause, graceMs);
    return this.#closing;
  }

  async #end(cause: TroupeError, graceMs: number): Promise<void> {
    this.#closed = true;
    this.#disarmExpiry?.();
    this.#notifications?.stop();
    for (const outgoing of this.#active) outgoing.stop(cause);
    if (this.#sessionId !== undefined && !this.modern && this.#expiring === undefined && graceMs > 0)
      await this.#deleteSession(graceMs);
    if (this.#expiring === undefined) {
      await this.client.close();
      this.#tellClosed(cause);
    } else {
      // One turn later than the rejections above, so that they are heard first; before anyone sends again.
      await Promise.resolve();
      this.#tellClosed(cause);
      await this.client.close();
    }
  }

  #tellClosed(cause: TroupeError): void {
    this.#over = true;
    this.#receiver?.onClose(cause);
  }

  #deleteSession(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const exchange = new DeleteExchange(this.client, resolve);
      exchange.endWithin(graceMs);
      void this.#startWithCredentials(exchange, 'DELETE', this.#legacyHeaders([]), 'control');
    });
  }
}

/** Tells the server that its session is over; whatever it says to that is good. */
class DeleteExchange extends HttpExchange {
  readonly #done: () => void;

  constructor(client: HttpClient, done: () => void) {
    super(client);
    this.#done = done;
  }

  protected override head(): void {
    this.abort();
    this.#done();
  }

  protected override body(): void {}

  protected override end(): void {
    this.#done();
  }

  protected override fail(): void {
    this.#done();
  }
}

/** Compression is not asked for: it saves little on small messages and can hold back events. It is understood nevertheless. */
const POST_HEADERS: readonly string[] = [
  'accept',
  'application/json, text/event-stream',
  'accept-encoding',
  'identity',
  'content-type',
  'application/json',
];
const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({});
const GET_HEADERS: readonly string[] = ['accept', 'text/event-stream', 'accept-encoding', 'identity'];
/** What the official SDKs answer to a session they do not know, before they look at the message. */
const SESSION_NOT_FOUND = -32001;

function saysItself({ code, message }: { readonly code: number; readonly message: string }): boolean {
  return code === SESSION_NOT_FOUND && /session/i.test(message);
}

function mentionsSession({ code, message }: { readonly code: number; readonly message: string }): boolean {
  return code === SESSION_NOT_FOUND || /session/i.test(message);
}

function withoutUser(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  bare.hash = '';
  return bare;
}
