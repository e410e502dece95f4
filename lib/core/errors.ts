/** What went wrong, as a closed set: programs switch on it, so a code is never renamed or reused. */
export const ERROR_CODES = [
  'cancelled',
  'deadline_exceeded',
  'unavailable',
  'connection_lost',
  'outcome_unknown',
  'circuit_open',
  'queue_full',
  'rate_limited',
  'not_found',
  'ambiguous_name',
  'invalid_request',
  'invalid_response',
  'limit_exceeded',
  'denied',
  'auth_required',
  'protocol_error',
  'unsupported',
  'affinity_lost',
  'config_invalid',
  'stopped',
  'internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * How far a request got: `unsent` never left the engine, `sent` was handed to the transport and may have run,
 * `answered` was answered by the server. Retry decides by this fact before it looks at anything else.
 */
export type Delivery = 'unsent' | 'sent' | 'answered';

export interface ErrorFacts {
  /** Configured name of the server. */
  readonly server?: string | undefined;
  /** Connection id: `server`, `server#replica` or `server#replica@scope`. */
  readonly connection?: string | undefined;
  /** Which attempt failed, counted from 1. Default 1. */
  readonly attempt?: number | undefined;
  /** Default `unsent`. */
  readonly delivery?: Delivery | undefined;
  /** When another try may succeed, in milliseconds from now. */
  readonly retryAfterMs?: number | undefined;
  /** Machine-readable detail; at most 16 KB of it is kept. */
  readonly data?: unknown;
  readonly cause?: unknown;
}

/** Longest error text kept, in characters: a hostile server must not fill a log (reliability §8). */
export const MAX_ERROR_TEXT = 2048;
const MAX_ERROR_DATA = 16_384;

// eslint-disable-next-line no-control-regex -- control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/** Longest word that a cut may have gone through, in characters: longer than what is secret usually is. */
const MAX_WORD = 256;
const BETWEEN_WORDS = /[\s"'<>,;=&]/;

/**
 * The beginning of a text without the word that the cut went through: half a secret would not be recognised any more by
 * whoever takes out secrets.
 */
export function cutText(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const least = limit - Math.min(MAX_WORD, limit / 2);
  let end = limit;
  while (end > least && !BETWEEN_WORDS.test(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

/** Makes text of a foreign origin fit for one log line: control characters escaped, length bounded. */
export function plainText(text: string, limit = MAX_ERROR_TEXT): string {
  const cut = text.length > limit ? `${cutText(text, limit)}… (${text.length} characters)` : text;
  return cut.replace(CONTROL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function boundedData(data: unknown): unknown {
  if (data === undefined || data === null || typeof data === 'number' || typeof data === 'boolean')
    return data;
  try {
    const size = JSON.stringify(data)?.length ?? 0;
    return size > MAX_ERROR_DATA ? { omitted: `${size} characters` } : data;
  } catch {
    return { omitted: 'not serialisable' };
  }
}

/** The one error class of the engine. `message` alone is useful in a log: `[unavailable] github: no ready replica`. */
export class TroupeError extends Error {
  override readonly name = 'TroupeError';
  readonly code: ErrorCode;
  readonly server?: string;
  readonly connection?: string;
  readonly attempt: number;
  readonly delivery: Delivery;
  readonly retryAfterMs?: number;
  readonly data?: unknown;
  /** The text without code and server. */
  readonly detail: string;

  constructor(code: ErrorCode, detail: string, facts: ErrorFacts = {}) {
    const text = plainText(detail);
    const where = facts.connection ?? facts.server;
    super(
      where === undefined ? `[${code}] ${text}` : `[${code}] ${where}: ${text}`,
      facts.cause === undefined ? undefined : { cause: facts.cause },
    );
    this.code = code;
    this.detail = text;
    this.attempt = facts.attempt ?? 1;
    this.delivery = facts.delivery ?? 'unsent';
    if (facts.server !== undefined) this.server = facts.server;
    if (facts.connection !== undefined) this.connection = facts.connection;
    if (facts.retryAfterMs !== undefined) this.retryAfterMs = facts.retryAfterMs;
    if (facts.data !== undefined) this.data = boundedData(facts.data);
  }

  /** The same error with further facts; facts already known are kept unless given anew. */
  with(facts: ErrorFacts): TroupeError {
    return new TroupeError(this.code, this.detail, {
      server: this.server,
      connection: this.connection,
      attempt: this.attempt,
      delivery: this.delivery,
      retryAfterMs: this.retryAfterMs,
      data: this.data,
      cause: this.cause,
      ...definedOnly(facts),
    });
  }

  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      server: this.server,
      connection: this.connection,
      attempt: this.attempt,
      delivery: this.delivery,
      retryAfterMs: this.retryAfterMs,
      data: this.data,
    };
  }

  /** The one door for foreign errors that no room has mapped: anything becomes a `TroupeError` with code `internal`. */
  static from(value: unknown, facts: ErrorFacts = {}): TroupeError {
    if (isTroupeError(value)) {
      return facts.server !== undefined && value.server === undefined ? value.with(facts) : value;
    }
    return new TroupeError('internal', errorText(value), { ...facts, cause: value });
  }
}

function definedOnly(facts: ErrorFacts): ErrorFacts {
  return Object.fromEntries(Object.entries(facts).filter(([, v]) => v !== undefined));
}

/** By shape, not by `instanceof`: the package may be loaded twice (ESM and CommonJS). */
export function isTroupeError(value: unknown): value is TroupeError {
  return (
    isError(value) &&
    value.name === 'TroupeError' &&
    (ERROR_CODES as readonly string[]).includes((value as { code?: string }).code ?? '')
  );
}

/** Also true for errors of another realm, which `instanceof Error` misses. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

export function errorText(value: unknown): string {
  if (isError(value)) return value.message === '' ? value.name : value.message;
  if (typeof value === 'string') return value;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** Causes of causes that are looked at. */
const MAX_CAUSES = 16;

/**
 * Until its stack is read for the first time, an error keeps alive whatever the functions in it were called on (V8). Done
 * for errors that are kept: reading a stack costs 10 µs and more.
 */
export function freeFrames(error: Error): void {
  try {
    let at: unknown = error;
    for (let i = 0; i < MAX_CAUSES && isError(at); i += 1) {
      void at.stack;
      at = at.cause;
    }
  } catch {
    // How a stack looks is up to the host (`Error.prepareStackTrace`), and a foreign cause may be anything.
  }
}
