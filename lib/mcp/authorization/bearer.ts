import type { Clock } from '../../core/clock.ts';
import { TroupeError, errorText, isTroupeError } from '../../core/errors.ts';
import type { HttpChallenge, HttpCredentials } from '../transports/http-headers.ts';
import { bounded } from './bounded.ts';
import type { TokenSource } from './options.ts';

type Headers = Readonly<Record<string, string>>;

/** RFC 6750 b64token, and a little more: what fits into one header and cannot end it. */
const TOKEN = /^[\u0021-\u007e]+$/;

/**
 * A token that the host has. A function is asked when the first request goes out and when the server refuses what it
 * gave, by all connections of a server together; no request waits for it in between.
 */
export class BearerCredentials implements HttpCredentials {
  readonly #source: TokenSource | undefined;
  readonly #clock: Clock;
  readonly #server: string;
  readonly #timeoutMs: number;
  readonly #onSecret: ((secret: string) => void) | undefined;
  #headers: Headers | undefined;
  #asking: Promise<Headers> | undefined;

  constructor(options: {
    readonly token: TokenSource | undefined;
    readonly clock: Clock;
    readonly server: string;
    readonly timeoutMs: number;
    /** Told each token before it is used. */
    readonly onSecret?: ((secret: string) => void) | undefined;
  }) {
    this.#onSecret = options.onSecret;
    this.#source = options.token;
    this.#clock = options.clock;
    this.#server = options.server;
    this.#timeoutMs = options.timeoutMs;
    if (typeof options.token === 'string') this.give(options.token);
  }

  /** Without a token and without anybody to ask there is nothing to add to a request. */
  get empty(): boolean {
    return this.#source === undefined && this.#headers === undefined;
  }

  /** A token from now on, in place of what was there. */
  give(token: string): void {
    this.#onSecret?.(token);
    if (!TOKEN.test(token)) throw this.#refusal('the token is no text that a header can carry');
    this.#headers = Object.freeze({ authorization: `Bearer ${token}` });
  }

  headers(): Headers | undefined | Promise<Headers> {
    return this.#headers ?? (typeof this.#source === 'function' ? this.#ask() : undefined);
  }

  async refused({ status, used }: HttpChallenge): Promise<boolean> {
    if (status !== 401) return false;
    // Somebody else has got a new one since.
    if (this.#headers !== undefined && used !== undefined && used !== this.#headers) return true;
    if (typeof this.#source !== 'function') return false;
    const before = (used ?? this.#headers)?.['authorization'];
    const { authorization } = await this.#ask();
    return authorization !== before;
  }

  #ask(): Promise<Headers> {
    this.#asking ??= this.#asked().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #asked(): Promise<Headers> {
    const source = this.#source as () => string | undefined | Promise<string | undefined>;
    const limits = {
      clock: this.#clock,
      ms: this.#timeoutMs,
      server: this.#server,
      what: 'the token callback (auth.bearer)',
    };
    let token: unknown;
    try {
      token = await bounded(() => source(), limits);
    } catch (error) {
      if (isTroupeError(error)) throw error;
      throw this.#refusal(`the token callback (auth.bearer) failed: ${errorText(error)}`, error);
    }
    if (typeof token !== 'string') throw this.#refusal('the token callback (auth.bearer) gave no token');
    this.give(token);
    return this.#headers as Headers;
  }

  #refusal(detail: string, cause?: unknown): TroupeError {
    return new TroupeError('auth_required', detail, { server: this.#server, cause });
  }
}
