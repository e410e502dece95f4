import type { IncomingHttpHeaders } from 'node:http';
import type { Disarm } from '../../core/clock.ts';
import { TroupeError, isTroupeError } from '../../core/errors.ts';
import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';
import type { Channel, ChannelReceiver, SendOptions } from '../wire/channel.ts';
import { createInbound, type Inbound } from '../wire/inbound.ts';
import { EventStreamParser } from './event-stream.ts';
import { HttpClient, HttpExchange, type HttpRequest, type Lane } from './http-client.ts';
import { configuredHeaders, pushGivenHeaders, withHeaders, type HttpCredentials } from './http-headers.ts';
import { challengeOf, pushEvents } from './http-outgoing.ts';
import {
  REFUSAL_BODY_MS,
  RefusalBody,
  mediaType,
  redirectTarget,
  redirected,
  refused,
  saysSessionLost,
  EXPIRY_MS,
  sessionExpired,
  unexpectedContent,
  type Refusal,
} from './http-refusal.ts';
import type { HttpChannelOptions } from './streamable-http.ts';
import { UnderWay, type ListedUnderWay } from './under-way.ts';

/**
 * HTTP+SSE, revision 2024-11-05: one event stream carries everything the server says; its first event names the URL that messages are
 * POSTed to. The stream is the session: a lost one is a lost session, so the channel closes and never reconnects by
 * itself. A quiet stream is a healthy one here, so it has no silence limit: dead peers are found by TCP keep-alive,
 * deadlines and pings.
 */
export function createSseChannel(options: HttpChannelOptions): Channel {
  return new SseChannel(options);
}

class SseChannel implements Channel {
  readonly kind = 'sse';
  readonly streamPerRequest = false;
  readonly sessionId = undefined;
  readonly client: HttpClient;
  readonly #options: HttpChannelOptions;
  readonly #url: URL;
  readonly #configured: readonly string[];
  readonly #inbound: Inbound;
  readonly #pending = new Set<RequestId>();
  readonly #posts = new UnderWay<SsePost>();
  #receiver: ChannelReceiver | undefined;
  #opening: { resolve: () => void; reject: (error: TroupeError) => void } | undefined;
  #stream: SseStream | undefined;
  #endpoint: string | undefined;
  #version: string | undefined;
  #challenged = false;
  /** The stream was asked for again with a new nonce, once. */
  #renewed = false;
  #closing: Promise<void> | undefined;
  #expiring: TroupeError | undefined;
  #disarmExpiry: Disarm | undefined;

  constructor(options: HttpChannelOptions) {
    const { url, headers, limits, clock, server } = options;
    this.#options = options;
    this.client = new HttpClient(options);
    this.#url = new URL(url.pathname + url.search, url.origin);
    this.#configured = configuredHeaders(url, headers ?? {}, server);
    this.#inbound = createInbound({
      limits,
      now: () => clock.now(),
      server,
      receiver: {
        onMessage: (message) => this.#onMessage(message),
        onUnanswered: (id, error) => this.#onMalformed(id, error),
        onOddity: (error) => this.#oddity(error),
        onClose: () => {},
      },
    });
  }

  get server(): string {
    return this.#options.server;
  }

  /** Settles with the `endpoint` event; a server that stays silent for `requestIdleMs` before it has failed. */
  open(receiver: ChannelReceiver): Promise<void> {
    this.#receiver = receiver;
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      this.#listen();
    });
  }

  send(message: RpcMessage, options?: SendOptions): Promise<void> {
    const { server } = this;
    const endpoint = this.#endpoint;
    if (endpoint === undefined || this.#closing !== undefined)
      throw new TroupeError(
        'unavailable',
        this.#closing === undefined ? 'the connection is not open' : 'the connection is closed',
        { server },
      );
    if (this.#expiring !== undefined) throw this.#expiring;
    const id = 'method' in message && 'id' in message ? message.id : undefined;
    if (id !== undefined && this.#pending.has(id))
      throw new TroupeError(
        'invalid_request',
        `a request with id ${JSON.stringify(id)} is already under way`,
        { server },
      );
    const post = new SsePost(this, id, Buffer.from(JSON.stringify(message)), options?.headers);
    if (id !== undefined) this.#pending.add(id);
    this.#posts.add(post);
    void this.#post(post, endpoint);
    return post.accepted;
  }

  forget(id: RequestId): void {
    this.#pending.delete(id);
  }

  setProtocolVersion(version: string): void {
    this.#version = version;
  }

  close(): Promise<void> {
    const { server } = this;
    return this.#end(
      new TroupeError('connection_lost', 'the connection was closed', { server, delivery: 'sent' }),
    );
  }

  // ── the stream ───────────────────────────────────────────────────────────────────────────────────────────────────

  event(data: Buffer, type: string): void {
    if (type === 'message') {
      if (data.length > 0) this.#inbound.read(data);
    } else if (type === 'endpoint' && this.#endpoint === undefined)
      this.#adoptEndpoint(data.toString('utf8'));
  }

  streamRefused(refusal: Refusal): void {
    const { server, clock, credentials } = this.#options;
    const { status } = refusal;
    const error = refused(server, refusal, clock.wallTime()).with({ delivery: 'unsent' });
    const denied = status === 401 || status === 403;
    // A nonce may be asked for of credentials that a refusal has just brought.
    if (denied && credentials?.answered?.(status, refusal.headers) === true && !this.#renewed) {
      this.#renewed = true;
      this.#listen();
    } else if (denied && credentials !== undefined && !this.#challenged) {
      this.#challenged = true;
      void this.#challenge(credentials, refusal, error, () => this.#listen());
    } else this.lost(error);
  }

  /** A head that brings no refusal may bring the nonce of the next request. */
  accepted(headers: IncomingHttpHeaders): void {
    this.#options.credentials?.answered?.(200, headers);
  }

  /** The stream could not be opened, ended or broke. */
  lost(error: TroupeError): void {
    void this.#end(error);
  }

  #listen(): void {
    if (this.#closing !== undefined) return;
    const stream = new SseStream(this, this.#url);
    this.#stream = stream;
    stream.silence(this.#options.limits.requestIdleMs);
    const headers = ['accept', 'text/event-stream', 'accept-encoding', 'identity', ...this.#configured];
    void this.#start(
      stream,
      { method: 'GET', path: this.#url.pathname + this.#url.search, headers },
      'control',
    );
  }

  #adoptEndpoint(text: string): void {
    const { server } = this;
    let endpoint: URL;
    try {
      endpoint = new URL(text, this.#url);
    } catch {
      this.lost(
        new TroupeError('invalid_response', `the endpoint event holds no URL: ${text.slice(0, 200)}`, {
          server,
        }),
      );
      return;
    }
    if (endpoint.origin !== this.#url.origin) {
      const detail = `the endpoint event names ${endpoint.origin}, which is not the origin of the stream (${this.#url.origin})`;
      this.lost(new TroupeError('invalid_response', detail, { server, data: { endpoint: endpoint.origin } }));
      return;
    }
    this.#endpoint = endpoint.pathname + endpoint.search;
    this.#stream?.silence(0);
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.resolve();
  }

  // ── messages out ─────────────────────────────────────────────────────────────────────────────────────────────────

  postRefused(post: SsePost, refusal: Refusal): void {
    const { server, clock, credentials } = this.#options;
    if (saysSessionLost(refusal)) {
      this.#expiring ??= sessionExpired(server, refusal);
      post.reject(this.#expiring);
      return;
    }
    const error = refused(server, refusal, clock.wallTime());
    const endpoint = this.#endpoint;
    const denied = refusal.status === 401 || refusal.status === 403;
    const renewed = denied && credentials?.answered?.(refusal.status, refusal.headers) === true;
    if (renewed && !post.renewed && endpoint !== undefined) {
      post.renewed = true;
      void this.#post(post, endpoint);
    } else if (denied && credentials !== undefined && !post.challenged && endpoint !== undefined) {
      post.challenged = true;
      void this.#challenge(credentials, refusal, error, () => void this.#post(post, endpoint), post);
    } else post.reject(error);
  }

  postDone(post: SsePost, failed: boolean): void {
    this.#posts.delete(post);
    this.#expireWhenTold();
    if (failed && post.id !== undefined) this.#pending.delete(post.id);
  }

  /** What was posted before is about to be refused like this, which proves it unsent: it is heard first. */
  #expireWhenTold(): void {
    const cause = this.#expiring;
    if (cause === undefined || this.#closing !== undefined) return;
    const end = (): void => this.lost(cause.with({ delivery: 'sent' }));
    // One turn later, so that the sender hears of its refusal first.
    if (this.#posts.find(() => true) === undefined) queueMicrotask(end);
    else this.#disarmExpiry ??= this.#options.clock.after(EXPIRY_MS, end);
  }

  async #post(post: SsePost, endpoint: string): Promise<void> {
    const headers = [
      'accept',
      'application/json',
      'accept-encoding',
      'identity',
      'content-type',
      'application/json',
      ...this.#configured,
    ];
    if (this.#version !== undefined) headers.push('mcp-protocol-version', this.#version);
    if (post.extra !== undefined) pushGivenHeaders(headers, post.extra);
    const exchange = new SsePostExchange(this, post, this.#url);
    post.carry(exchange);
    exchange.silence(this.#options.limits.requestIdleMs);
    // Answers to the server's own requests must not wait behind requests that wait for them.
    const lane: Lane = post.id === undefined ? 'control' : 'request';
    await this.#start(exchange, { method: 'POST', path: endpoint, headers, body: post.body }, lane);
  }

  async #start(exchange: HttpExchange, request: HttpRequest, lane: Lane): Promise<void> {
    const { server, credentials } = this.#options;
    try {
      const given = credentials?.headers({ method: request.method, url: new URL(request.path, this.#url) });
      const extra = given instanceof Promise ? await given : given;
      if (exchange.over) return;
      exchange.used = extra;
      this.client.start(exchange, { ...request, headers: withHeaders(request.headers, extra) }, lane);
    } catch (error) {
      exchange.refuse(
        isTroupeError(error)
          ? error
          : new TroupeError('auth_required', 'no credentials could be obtained', { server, cause: error }),
      );
    }
  }

  async #challenge(
    credentials: HttpCredentials,
    refusal: Refusal,
    error: TroupeError,
    again: () => void,
    post?: SsePost,
  ): Promise<void> {
    let failure = error;
    try {
      const used = (post === undefined ? this.#stream?.used : post.used) ?? {};
      const granted = await credentials.refused({ ...challengeOf(refusal), used });
      if (this.#closing !== undefined || post?.over === true) return;
      if (granted) {
        again();
        return;
      }
    } catch (cause) {
      failure = isTroupeError(cause) ? cause : error.with({ cause });
    }
    if (post === undefined) this.lost(failure);
    else post.reject(failure);
  }

  // ── messages in ──────────────────────────────────────────────────────────────────────────────────────────────────

  #onMessage(message: RpcMessage): void {
    if (this.#closing !== undefined) return;
    if (
      !('method' in message) &&
      (message.id === undefined || message.id === null || !this.#pending.delete(message.id))
    ) {
      const id = JSON.stringify(message.id)?.slice(0, 64);
      this.#oddity(
        new TroupeError('invalid_response', `an answer to no open request (id ${id})`, {
          server: this.server,
          delivery: 'answered',
        }),
      );
      return;
    }
    this.#receiver?.onMessage(message);
  }

  #onMalformed(id: RequestId, error: TroupeError): void {
    if (this.#closing !== undefined) return;
    if (this.#pending.delete(id)) this.#receiver?.onUnanswered(id, error);
    else this.#oddity(error);
  }

  #oddity(error: TroupeError): void {
    if (this.#closing === undefined) this.#receiver?.onOddity(error);
  }

  #end(cause: TroupeError): Promise<void> {
    this.#closing ??= this.#tearDown(cause);
    return this.#closing;
  }

  async #tearDown(cause: TroupeError): Promise<void> {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#disarmExpiry?.();
    this.#stream?.abort();
    for (const post of this.#posts) post.stop(cause);
    this.#pending.clear();
    if (opening === undefined) {
      // One turn later than the rejections above, so that senders hear of them first.
      await Promise.resolve();
      this.#receiver?.onClose(cause);
    } else opening.reject(cause.with({ delivery: 'unsent' }));
    await this.client.close();
  }
}

/** The GET: everything the server says. */
class SseStream extends HttpExchange {
  readonly #channel: SseChannel;
  readonly #url: URL;
  readonly #parser: EventStreamParser;
  #open = false;
  #refusal: RefusalBody | undefined = undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};

  constructor(channel: SseChannel, url: URL) {
    super(channel.client);
    this.#channel = channel;
    this.#url = url;
    this.#parser = new EventStreamParser(channel.client.limits.messageBytes, (data, type) =>
      channel.event(data, type),
    );
  }

  protected override head(status: number, headers: IncomingHttpHeaders): void {
    const target = redirectTarget(this.#url, status, headers);
    if (target !== undefined) {
      this.abort();
      this.#channel.lost(redirected(this.server, status, target).with({ delivery: 'unsent' }));
    } else if (status !== 200) {
      this.#status = status;
      this.#headers = headers;
      this.#refusal = new RefusalBody(headers);
      this.endWithin(REFUSAL_BODY_MS);
    } else if (mediaType(headers) === 'text/event-stream') {
      this.#open = true;
      this.#channel.accepted(headers);
    } else {
      this.abort();
      this.#channel.lost(unexpectedContent(this.server, status, headers).with({ delivery: 'unsent' }));
    }
  }

  protected override body(piece: Buffer): void {
    if (this.#open) pushEvents(this, this.#parser, piece, (error) => this.fail(error));
    else if (this.#refusal?.push(piece) === false) {
      this.abort();
      this.#refused();
    }
  }

  protected override end(): void {
    const { server } = this;
    if (this.#open)
      this.#channel.lost(
        new TroupeError('connection_lost', 'the server ended the event stream', { server, delivery: 'sent' }),
      );
    else this.#refused();
  }

  protected override fail(error: TroupeError): void {
    if (this.#refusal === undefined) this.#channel.lost(error);
    else this.#refused();
  }

  override abort(): void {
    this.#parser.stop();
    super.abort();
  }

  #refused(): void {
    this.#channel.streamRefused({
      status: this.#status,
      headers: this.#headers,
      text: this.#refusal?.text() ?? '',
    });
  }
}

/** One message on its way to the endpoint. */
class SsePost implements ListedUnderWay {
  before: this | undefined = undefined;
  after: this | undefined = undefined;
  readonly id: RequestId | undefined;
  readonly body: Buffer;
  readonly extra: Readonly<Record<string, string>> | undefined;
  readonly accepted: Promise<void>;
  challenged = false;
  /** It was sent again with a new nonce, once. */
  renewed = false;
  over = false;
  readonly #channel: SseChannel;
  #resolve!: () => void;
  #reject!: (error: TroupeError) => void;
  #exchange: HttpExchange | undefined = undefined;

  constructor(
    channel: SseChannel,
    id: RequestId | undefined,
    body: Buffer,
    extra: Readonly<Record<string, string>> | undefined,
  ) {
    this.#channel = channel;
    this.id = id;
    this.body = body;
    this.extra = extra;
    this.accepted = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The credentials that travelled with it. */
  get used(): HttpExchange['used'] {
    return this.#exchange?.used;
  }

  carry(exchange: HttpExchange): void {
    this.#exchange = exchange;
  }

  accept(): void {
    if (this.over) return;
    this.over = true;
    this.#channel.postDone(this, false);
    this.#resolve();
  }

  reject(error: TroupeError): void {
    if (this.over) return;
    this.over = true;
    this.#exchange?.abort();
    this.#channel.postDone(this, true);
    this.#reject(error);
  }

  stop(cause: TroupeError): void {
    this.reject(cause.with({ delivery: this.#exchange?.started === true ? 'sent' : 'unsent' }));
  }
}

class SsePostExchange extends HttpExchange {
  readonly #channel: SseChannel;
  readonly #post: SsePost;
  readonly #url: URL;
  #refusal: RefusalBody | undefined = undefined;
  #status = 0;
  #headers: IncomingHttpHeaders = {};

  constructor(channel: SseChannel, post: SsePost, url: URL) {
    super(channel.client);
    this.#channel = channel;
    this.#post = post;
    this.#url = url;
  }

  protected override head(status: number, headers: IncomingHttpHeaders): void {
    if (status >= 200 && status <= 299) {
      this.endWithin(REFUSAL_BODY_MS);
      this.#channel.accepted(headers);
      this.#post.accept();
      return;
    }
    const target = redirectTarget(this.#url, status, headers);
    if (target !== undefined) {
      this.abort();
      this.#post.reject(redirected(this.server, status, target));
      return;
    }
    this.#status = status;
    this.#headers = headers;
    this.#refusal = new RefusalBody(headers);
    this.endWithin(REFUSAL_BODY_MS);
  }

  protected override body(piece: Buffer): void {
    if (this.#refusal?.push(piece) === false) {
      this.abort();
      this.#refused();
    }
  }

  protected override end(): void {
    if (this.#refusal !== undefined) this.#refused();
  }

  protected override fail(error: TroupeError): void {
    if (this.#refusal === undefined) this.#post.reject(error);
    else this.#refused();
  }

  #refused(): void {
    this.#channel.postRefused(this.#post, {
      status: this.#status,
      headers: this.#headers,
      text: this.#refusal?.text() ?? '',
    });
  }
}
