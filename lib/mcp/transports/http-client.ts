import type { IncomingHttpHeaders } from 'node:http';
import type { Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib';
import { Pool, type Dispatcher } from 'undici';
import type { Clock, DeadlineEntry } from '../../core/clock.ts';
import { TroupeError, errorText, isTroupeError } from '../../core/errors.ts';
import type { Limits } from '../../core/limits.ts';
import { createConnector, type TlsOptions } from './http-guard.ts';
import { headerText, shown } from './http-refusal.ts';

export interface HttpClientOptions {
  readonly url: URL;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly server: string;
  /** Sockets for requests. Default 256, as many as one server is asked to answer at the same time. */
  readonly connections?: number | undefined;
  readonly tls?: TlsOptions | undefined;
  /** Takes the place of our own pools; closing it stays with whoever made it. */
  readonly dispatcher?: Dispatcher | undefined;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: string[];
  readonly body?: Buffer | undefined;
}

/**
 * Requests wait for a free socket behind each other, so what must not wait behind them has sockets of its own: answers to the server's own
 * requests (which a running request may be waiting for), cancellations, notification streams.
 */
export type Lane = 'request' | 'control';

const REQUEST_SOCKETS = 256;
const CONTROL_SOCKETS = 16;
/** What a message that waits for a socket takes beside its body, bytes (measured: 3.9 kB). */
const MESSAGE_BYTES = 4_096;

/** The sockets of one channel: own pools, never shared, gone after `close`. */
export class HttpClient {
  readonly origin: string;
  readonly server: string;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly #options: HttpClientOptions;
  readonly #connect: ReturnType<typeof createConnector>;
  readonly #requests: Dispatcher;
  #control: Dispatcher | undefined;
  #waitingBytes = 0;
  #closed: Promise<void> | undefined;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.origin = options.url.origin;
    this.server = options.server;
    this.limits = options.limits;
    this.clock = options.clock;
    // The configured URL may be private: the host application chose it.
    this.#connect = createConnector({ tls: options.tls, allowPrivate: true, server: options.server });
    this.#control = options.dispatcher;
    this.#requests = options.dispatcher ?? this.#pool(options.connections ?? REQUEST_SOCKETS);
  }

  start(exchange: HttpExchange, request: HttpRequest, lane: Lane): void {
    // What waits weighs more than its body; requests that wait are as few as the server may have in flight.
    const bytes = (request.body?.length ?? 0) + (lane === 'control' ? MESSAGE_BYTES : 0);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > this.limits.writeQueueBytes) {
      throw new TroupeError(
        'queue_full',
        `${this.#waitingBytes} bytes already wait for a connection to ${this.origin}`,
        {
          server: this.server,
          data: { limit: this.limits.writeQueueBytes },
        },
      );
    }
    this.#waitingBytes += bytes;
    exchange.waitingBytes = bytes;
    const dispatcher = lane === 'request' ? this.#requests : (this.#control ??= this.#pool(CONTROL_SOCKETS));
    dispatcher.dispatch(
      {
        origin: this.origin,
        path: request.path,
        method: request.method,
        headers: request.headers,
        body: request.body ?? null,
      },
      exchange,
    );
  }

  /** A message has left the queue: it is being written, or nobody wants it any longer. */
  left(bytes: number): void {
    this.#waitingBytes -= bytes;
  }

  close(): Promise<void> {
    this.#closed ??= this.#destroy();
    return this.#closed;
  }

  async #destroy(): Promise<void> {
    if (this.#options.dispatcher !== undefined) return;
    const control = this.#control;
    this.#control = this.#requests;
    await Promise.all([this.#requests.destroy(), control?.destroy()]);
  }

  #pool(connections: number): Pool {
    const { limits } = this.#options;
    return new Pool(this.origin, {
      connections,
      pipelining: 1,
      connect: this.#connect,
      maxHeaderSize: limits.headerBytes,
      // Silence is measured by us, per stream; undici's five minutes would cut quiet streams and slow answers.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }
}

const ABORTED = new Error('no longer wanted');

/**
 * One HTTP request and what comes back. Who extends it hears `head` (final status only), then `body` in decompressed
 * pieces, and last exactly one of `end` and `fail`; nothing after `abort`.
 */
export abstract class HttpExchange implements Dispatcher.DispatchHandler, DeadlineEntry {
  wheelSlot: DeadlineEntry['wheelSlot'] = undefined;
  wheelBefore: DeadlineEntry | undefined = undefined;
  wheelAfter: DeadlineEntry | undefined = undefined;
  /** Bytes of the body counted as waiting for a socket. */
  waitingBytes = 0;
  /** The credentials that travel with it. */
  used: Readonly<Record<string, string>> | undefined = undefined;
  protected readonly client: HttpClient;
  #controller: Dispatcher.DispatchController | undefined = undefined;
  #over = false;
  #headed = false;
  #silenceMs = 0;
  #lastByteAt = 0;
  #fixed = false;
  #armed = false;
  #decoder: Transform | undefined = undefined;
  #encoding: string | undefined = undefined;

  constructor(client: HttpClient) {
    this.client = client;
  }

  /** Status line and headers of the final response. */
  protected abstract head(status: number, headers: IncomingHttpHeaders): void;
  protected abstract body(piece: Buffer): void;
  protected abstract end(): void;
  /** `error.delivery` is `unsent` while not a byte of the request was written. */
  protected abstract fail(error: TroupeError): void;

  get over(): boolean {
    return this.#over;
  }

  get server(): string {
    return this.client.server;
  }

  /** Whether writing began: from here on the server may have acted on it. */
  get started(): boolean {
    return this.#controller !== undefined;
  }

  /** Ends it without a word; the socket is closed unless the response was complete. */
  abort(): void {
    if (this.#over) return;
    this.#finish();
    this.#controller?.abort(ABORTED);
  }

  /** It cannot even be started. */
  refuse(error: TroupeError): void {
    if (this.#over) return;
    this.#finish();
    this.fail(error);
  }

  /** From now on `ms` of silence end it with `onSilence`. */
  silence(ms: number): void {
    this.#fixed = false;
    this.#arm(ms);
  }

  /** It must end within `ms` whatever still arrives; `onSilence` otherwise. */
  endWithin(ms: number): void {
    this.#fixed = true;
    this.#arm(ms);
  }

  protected onSilence(): void {
    const { server, origin } = this.client;
    this.abort();
    this.fail(
      new TroupeError('connection_lost', `${origin} was silent for ${this.#silenceMs} ms`, {
        server,
        delivery: this.started ? 'sent' : 'unsent',
        data: { reason: 'silent', limitMs: this.#silenceMs },
      }),
    );
  }

  onDeadline(): void {
    this.#armed = false;
    if (this.#over) return;
    const due = this.#lastByteAt + this.#silenceMs;
    // Bytes only note the time; the deadline moves when it is reached, not with every piece.
    if (!this.#fixed && due - this.client.clock.now() > 1) this.#wakeAt(due);
    else this.onSilence();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#over) {
      controller.abort(ABORTED);
      return;
    }
    this.#controller = controller;
    this.#left();
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (this.#over || status < 200) return;
    this.#headed = true;
    this.#touch();
    if (headers['content-encoding'] !== undefined) this.#encoding = encodingOf(headers);
    this.head(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, piece: Buffer): void {
    if (this.#over) return;
    this.#touch();
    if (this.#encoding === undefined) this.body(piece);
    else this.#decode(controller, piece);
  }

  onResponseEnd(): void {
    if (this.#over) return;
    if (this.#decoder !== undefined) this.#decoder.end();
    else this.#complete();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return;
    const mapped = this.#mapped(error);
    this.#finish();
    this.fail(mapped);
  }

  #complete(): void {
    if (this.#over) return;
    this.#finish();
    this.end();
  }

  #finish(): void {
    this.#over = true;
    this.#left();
    this.#disarm();
    const decoder = this.#decoder;
    if (decoder !== undefined) {
      this.#decoder = undefined;
      decoder.destroy();
    }
  }

  #left(): void {
    if (this.waitingBytes === 0) return;
    this.client.left(this.waitingBytes);
    this.waitingBytes = 0;
  }

  #arm(ms: number): void {
    this.#disarm();
    this.#silenceMs = ms;
    this.#lastByteAt = this.client.clock.now();
    if (ms > 0 && ms < Infinity && !this.#over) this.#wakeAt(this.#lastByteAt + ms);
  }

  #wakeAt(at: number): void {
    this.#armed = true;
    this.client.clock.deadline(at, this);
  }

  #disarm(): void {
    if (!this.#armed) return;
    this.#armed = false;
    this.client.clock.cancelDeadline(this);
  }

  #touch(): void {
    if (this.#silenceMs > 0 && !this.#fixed) this.#lastByteAt = this.client.clock.now();
  }

  #decode(controller: Dispatcher.DispatchController, piece: Buffer): void {
    let decoder = this.#decoder;
    if (decoder === undefined) {
      decoder = createDecoder(this.#encoding ?? '', piece);
      if (decoder === undefined) {
        this.#refuseBody(`the content encoding ${shown(this.#encoding)} is not one of gzip, deflate, br`);
        return;
      }
      this.#decoder = decoder;
      decoder.on('data', (plain: Buffer) => {
        if (!this.#over) this.body(plain);
      });
      decoder.on('end', () => this.#complete());
      decoder.on('drain', () => controller.resume());
      decoder.on('error', (error) => {
        if (!this.#over)
          this.#refuseBody(`the ${shown(this.#encoding)} body is damaged: ${errorText(error)}`, error);
      });
    }
    if (!decoder.write(piece)) controller.pause();
  }

  #refuseBody(detail: string, cause?: unknown): void {
    this.abort();
    this.fail(
      new TroupeError('invalid_response', detail, {
        server: this.client.server,
        delivery: 'answered',
        cause,
      }),
    );
  }

  #mapped(error: Error): TroupeError {
    const { server, origin, limits } = this.client;
    if (isTroupeError(error)) return error.with({ server });
    const code = (error as { code?: unknown }).code;
    const reason = typeof code === 'string' ? code : error.name;
    const data = { reason };
    if (this.#controller === undefined) {
      const detail = reasonText(error);
      if (reason === 'UND_ERR_INVALID_ARG' || reason === 'UND_ERR_NOT_SUPPORTED')
        return new TroupeError('invalid_request', `the HTTP request cannot be made: ${detail}`, {
          server,
          data,
          cause: error,
        });
      return new TroupeError('unavailable', `cannot connect to ${origin}: ${detail}`, {
        server,
        data,
        cause: error,
      });
    }
    const delivery = this.#headed ? 'answered' : 'sent';
    if (reason === 'UND_ERR_HEADERS_OVERFLOW')
      return new TroupeError(
        'limit_exceeded',
        `the response headers are larger than ${limits.headerBytes} bytes`,
        {
          server,
          delivery: 'answered',
          data: { limit: limits.headerBytes },
          cause: error,
        },
      );
    // In TLS 1.3 the server's refusal of our certificate arrives after the handshake; the request was never read.
    if (!this.#headed && /^ERR_SSL_.*ALERT/.test(reason))
      return new TroupeError('unavailable', `${origin} refused the TLS connection: ${reasonText(error)}`, {
        server,
        data,
        cause: error,
      });
    if (error.name === 'HTTPParserError' && reason !== 'HPE_INVALID_EOF_STATE')
      return new TroupeError('invalid_response', `${origin} does not speak HTTP: ${reasonText(error)}`, {
        server,
        delivery,
        data,
        cause: error,
      });
    return new TroupeError(
      'connection_lost',
      this.#headed
        ? `the response of ${origin} was cut off: ${reasonText(error)}`
        : `${origin} closed the connection without a response: ${reasonText(error)}`,
      { server, delivery: 'sent', data, cause: error },
    );
  }
}

/** Connecting to several addresses fails with one error for each. */
function reasonText(error: Error): string {
  const [first] = (error as { errors?: readonly unknown[] }).errors ?? [];
  const text = error.message === '' && first !== undefined ? errorText(first) : errorText(error);
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && !text.includes(code) ? `${text} (${code})` : text;
}

/** The one thing that was done to the body; undefined: nothing. Proxies add headers of their own, some of them empty. */
function encodingOf(headers: IncomingHttpHeaders): string | undefined {
  const done = (headerText(headers, 'content-encoding') ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '' && word.toLowerCase() !== 'identity');
  return done.length === 0 ? undefined : done.join(', ');
}

function createDecoder(encoding: string, first: Buffer): Transform | undefined {
  // Flushed with each piece, so that an event is not held back until the stream ends.
  const zlib = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_FINISH };
  switch (encoding.toLowerCase()) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip(zlib);
    case 'deflate':
      // RFC 9110 means the zlib format; some servers send the bare one.
      return ((first[0] ?? 0) & 0x0f) === 0x08 ? createInflate(zlib) : createInflateRaw(zlib);
    case 'br':
      return createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH });
    default:
      return undefined;
  }
}
