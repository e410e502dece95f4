import type { IncomingMessage } from 'node:http';
import { createSecureContext } from 'node:tls';
import { WebSocket } from 'ws';
import type { ClientOptions } from 'ws';
import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError, errorText } from '../../core/errors.ts';
import type { ErrorCode, ErrorFacts } from '../../core/errors.ts';
import type { RpcMessage } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import { fromSdk } from '../errors.ts';
import type { Channel, ChannelReceiver } from '../wire/channel.ts';
import { createInbound } from '../wire/inbound.ts';
import type { Inbound } from '../wire/inbound.ts';
import type { TlsOptions } from './http-guard.ts';
import { configuredHeaders } from './http-headers.ts';
import { headerText, retryAfterMs } from './http-refusal.ts';

export interface WebSocketChannelOptions {
  /** `ws:` or `wss:`. */
  readonly url: URL;
  /** Headers of the handshake. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly limits: Limits;
  readonly clock: Clock;
  /** Configured name, for errors. */
  readonly server: string;
  readonly tls?: TlsOptions | undefined;
  /** Time between two WebSocket pings, milliseconds; after two without an answer the connection is lost. Default 30 000; 0: none. */
  readonly pingMs?: number | undefined;
}

/** Not a binding of the specification; the name is that of the SDK's first WebSocket transport. */
const SUBPROTOCOL = 'mcp';
const DEFAULT_PING_MS = 30_000;
const MISSED_PINGS = 2;
/** As for other sockets (reliability §8). */
const HANDSHAKE_TIMEOUT_MS = 10_000;
const NORMAL_CLOSURE = 1000;
const UNSUPPORTED_DATA = 1003;

/**
 * A WebSocket with one JSON-RPC message per text frame, for both eras. Compression is off, since it lets a small frame
 * grow beyond every limit and costs memory per connection; redirects are refused.
 */
export function createWebSocketChannel(options: WebSocketChannelOptions): Channel {
  return new WebSocketChannel(options);
}

class WebSocketChannel implements Channel {
  readonly kind = 'websocket';
  readonly streamPerRequest = false;
  readonly sessionId = undefined;
  readonly #url: URL;
  readonly #settings: ClientOptions;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #server: string;
  readonly #pingMs: number;
  #socket: WebSocket | undefined;
  #receiver: ChannelReceiver | undefined;
  #inbound: Inbound | undefined;
  #opening: { resolve(): void; reject(error: TroupeError): void } | undefined;
  /** Why the conversation ends, known before the socket says that it has. */
  #cause: TroupeError | undefined;
  #closing: Promise<void> | undefined;
  #closed: (() => void) | undefined;
  #disarmPing: Disarm | undefined;
  #heard = true;
  #missed = 0;

  constructor(options: WebSocketChannelOptions) {
    const { url, limits, clock, server, tls } = options;
    if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
      throw new TroupeError('config_invalid', `url: ${url.protocol} is no WebSocket; use ws: or wss:`, {
        server,
      });
    }
    this.#url = new URL(url);
    this.#url.username = '';
    this.#url.password = '';
    this.#url.hash = '';
    this.#limits = limits;
    this.#clock = clock;
    this.#server = server;
    this.#pingMs = options.pingMs ?? DEFAULT_PING_MS;
    this.#settings = {
      ...tlsSettings(tls, server),
      headers: pairs(configuredHeaders(url, options.headers ?? {}, server)),
      maxPayload: limits.messageBytes,
      maxHeaderSize: limits.headerBytes,
      perMessageDeflate: false,
      followRedirects: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    } as ClientOptions;
  }

  open(receiver: ChannelReceiver): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(this.#cause ?? this.#closedByUs());
    const server = this.#server;
    this.#receiver = receiver;
    this.#inbound = createInbound({ limits: this.#limits, now: () => this.#clock.now(), receiver, server });
    return new Promise<void>((resolve, reject) => {
      this.#opening = { resolve, reject };
      let socket: WebSocket;
      try {
        socket = new WebSocket(this.#url, [SUBPROTOCOL], this.#settings);
      } catch (error) {
        this.#opening = undefined;
        reject(
          new TroupeError('config_invalid', `url or headers: ${errorText(error)}`, { server, cause: error }),
        );
        return;
      }
      this.#socket = socket;
      // Bytes as they came: decoding is the business of `inbound`.
      socket.binaryType = 'nodebuffer';
      socket.on('open', () => this.#onOpen());
      socket.on('message', (data: Buffer, binary: boolean) => this.#onMessage(data, binary));
      socket.on('pong', () => this.#onSign());
      socket.on('ping', () => this.#onSign());
      socket.on('error', (error) => this.#onError(error));
      socket.on('unexpected-response', (_request, response) => this.#onRefusal(socket, response));
      socket.on('close', (code, reason) => this.#onClose(code, reason));
    });
  }

  send(message: RpcMessage): void {
    const socket = this.#socket;
    if (socket === undefined || socket.readyState !== WebSocket.OPEN || this.#cause !== undefined) {
      throw new TroupeError('connection_lost', 'the WebSocket is not open', {
        server: this.#server,
        delivery: 'unsent',
        cause: this.#cause,
      });
    }
    if (socket.bufferedAmount > this.#limits.writeQueueBytes) {
      throw new TroupeError(
        'queue_full',
        `the server does not read: ${socket.bufferedAmount} bytes wait to be written (limit \`writeQueueBytes\`)`,
        { server: this.#server, delivery: 'unsent' },
      );
    }
    socket.send(JSON.stringify(message));
  }

  /** Frames share one stream; what comes late belongs to nobody and is dropped above. */
  forget(): void {}

  setProtocolVersion(): void {}

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#end(graceMs);
    return this.#closing;
  }

  async #end(graceMs: number): Promise<void> {
    const socket = this.#socket;
    this.#cause ??= this.#closedByUs();
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    if (socket.readyState === WebSocket.CONNECTING || graceMs <= 0) {
      socket.terminate();
      return closed;
    }
    const disarm = this.#clock.after(graceMs, () => socket.terminate());
    socket.close(NORMAL_CLOSURE);
    await closed;
    disarm();
  }

  #closedByUs(): TroupeError {
    return this.#error('connection_lost', 'the connection was closed', { delivery: 'sent' });
  }

  #onOpen(): void {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#armPing();
    opening?.resolve();
  }

  #onMessage(data: Buffer, binary: boolean): void {
    this.#onSign();
    if (this.#cause !== undefined) return;
    if (binary) {
      this.#fail(
        this.#error('protocol_error', 'the server sent a binary frame; MCP over WebSocket is text', {
          delivery: 'sent',
        }),
        UNSUPPORTED_DATA,
      );
      return;
    }
    this.#inbound?.read(data);
  }

  #onSign(): void {
    this.#heard = true;
    this.#missed = 0;
  }

  #armPing(): void {
    if (this.#pingMs > 0 && this.#pingMs < Infinity) {
      this.#disarmPing = this.#clock.after(this.#pingMs, () => this.#ping(), { unref: true });
    }
  }

  /** A peer that vanished without a word (cable, suspended machine) leaves an open socket that never answers. */
  #ping(): void {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#cause !== undefined) return;
    if (!this.#heard) this.#missed += 1;
    if (this.#missed >= MISSED_PINGS) {
      const seconds = (this.#missed * this.#pingMs) / 1000;
      this.#cause = this.#error(
        'connection_lost',
        `the server has answered no WebSocket ping for ${seconds} s`,
        {
          delivery: 'sent',
        },
      );
      this.#socket.terminate();
      return;
    }
    this.#heard = false;
    this.#socket.ping();
    this.#armPing();
  }

  #fail(cause: TroupeError, code: number): void {
    this.#cause = cause;
    this.#socket?.close(code);
    // It broke the protocol: it is not waited for as long as a polite peer.
    this.#disarmPing?.();
    this.#disarmPing = this.#clock.after(FAULT_GRACE_MS, () => this.#socket?.terminate(), { unref: true });
  }

  #onRefusal(socket: WebSocket, response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    const { headers } = response;
    response.resume();
    const authorization = status === 401 || status === 403;
    const wwwAuthenticate = authorization
      ? headerText(headers, 'www-authenticate')?.slice(0, 2048)
      : undefined;
    const statusText = response.statusMessage ?? '';
    this.#cause ??= this.#error(
      authorization ? 'auth_required' : 'unavailable',
      `the server answered the WebSocket handshake with HTTP ${status} ${statusText}`.trimEnd(),
      {
        delivery: 'unsent',
        retryAfterMs: retryAfterMs(headers, this.#clock.wallTime()),
        data: {
          status,
          ...(statusText !== '' && { statusText }),
          ...(wwwAuthenticate !== undefined && { wwwAuthenticate }),
        },
      },
    );
    socket.terminate();
  }

  #onError(error: Error): void {
    if (this.#cause !== undefined) return;
    const { code } = error as { code?: unknown };
    const fault = typeof code === 'string' ? FAULTS[code] : undefined;
    const facts = { delivery: this.#opening === undefined ? 'sent' : 'unsent', cause: error } as const;
    if (fault === 'limit_exceeded') {
      const max = this.#limits.messageBytes;
      this.#cause = this.#error(
        fault,
        `the server sent a message of more than ${max} bytes (limit \`messageBytes\`)`,
        facts,
      );
    } else if (fault !== undefined || (typeof code === 'string' && code.startsWith('WS_ERR_'))) {
      this.#cause = this.#error(
        fault ?? 'protocol_error',
        `the server broke the WebSocket protocol: ${error.message}`,
        facts,
      );
    } else if (this.#opening !== undefined && error.message.includes('subprotocol')) {
      this.#cause = this.#error(
        'protocol_error',
        `the server does not speak the WebSocket sub-protocol \`${SUBPROTOCOL}\` (${error.message}): is it an MCP endpoint?`,
        facts,
      );
    } else {
      const known = fromSdk(error, { server: this.#server, delivery: facts.delivery });
      // Until it is open, nothing but the handshake was sent.
      this.#cause =
        this.#opening === undefined
          ? known
          : this.#error('unavailable', known.detail, { ...facts, data: known.data });
    }
  }

  /** The last event of a socket, whatever happened to it. */
  #onClose(code: number, reason: Buffer): void {
    this.#disarmPing?.();
    this.#socket?.removeAllListeners();
    const said = reason.length > 0 ? reason.toString() : undefined;
    const cause =
      this.#cause ??
      this.#error(
        'connection_lost',
        `the server closed the WebSocket with code ${code}${said === undefined ? '' : `: ${said}`}`,
        {
          delivery: 'sent',
          data: { closeCode: code, ...(said !== undefined && { reason: said }) },
        },
      );
    this.#cause = cause;
    const opening = this.#opening;
    this.#opening = undefined;
    this.#closing ??= Promise.resolve();
    if (opening === undefined) this.#receiver?.onClose(cause);
    else opening.reject(cause.delivery === 'unsent' ? cause : cause.with({ delivery: 'unsent' }));
    this.#closed?.();
  }

  #error(code: ErrorCode, detail: string, facts: ErrorFacts): TroupeError {
    return new TroupeError(code, detail, { ...facts, server: this.#server });
  }
}

const FAULT_GRACE_MS = 1_000;

/** What `ws` calls the faults of a peer that deserve a code of their own. */
const FAULTS: Readonly<Record<string, ErrorCode>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 'limit_exceeded',
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 'limit_exceeded',
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 'limit_exceeded',
  WS_ERR_INVALID_UTF8: 'invalid_response',
};

function pairs(flat: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) headers[flat[i] ?? ''] = flat[i + 1] ?? '';
  return headers;
}

function tlsSettings(tls: TlsOptions | undefined, server: string): Record<string, unknown> {
  const settings = Object.fromEntries(Object.entries(tls ?? {}).filter(([, value]) => value !== undefined));
  try {
    if (tls !== undefined) createSecureContext(settings);
  } catch (error) {
    throw new TroupeError('config_invalid', `tls: ${errorText(error)}; give ca, cert and key as PEM text`, {
      server,
      cause: error,
    });
  }
  return settings;
}
