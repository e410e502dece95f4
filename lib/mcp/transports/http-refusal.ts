import type { IncomingHttpHeaders } from 'node:http';
import { MAX_ERROR_TEXT, TroupeError, cutText } from '../../core/errors.ts';
import { ByteBuffer } from '../byte-buffer.ts';

/** A refused request as the server told it. */
export interface Refusal {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body, as far as it was read. */
  readonly text: string;
}

/** The longest body of a refusal that is read: a JSON-RPC error must fit, everything else is cut shorter still. Bytes. */
const MAX_REFUSAL_BYTES = 65_536;
/** … and how long it may take, milliseconds. */
export const REFUSAL_BODY_MS = 5_000;
/** Longest wait a server can ask for, milliseconds (reliability §3, row 43). */
const MAX_RETRY_AFTER_MS = 60_000;

/** Gathers the body of a refusal, never more than is of use. */
export class RefusalBody {
  readonly #bytes = new ByteBuffer();
  readonly #limit: number;
  #isCut = false;

  constructor(headers: IncomingHttpHeaders) {
    this.#limit = mediaType(headers) === 'application/json' ? MAX_REFUSAL_BYTES : MAX_ERROR_TEXT;
  }

  /** False when enough was read. */
  push(piece: Buffer): boolean {
    const room = this.#limit - this.#bytes.length;
    this.#isCut = piece.length > room;
    this.#bytes.push(this.#isCut ? piece.subarray(0, room) : piece);
    return !this.#isCut;
  }

  text(): string {
    const text = this.#bytes.take().toString('utf8');
    return this.#isCut ? cutText(`${text}…`, text.length) : text;
  }
}

/** `type/subtype` in lower case, without parameters; empty when there is none. */
export function mediaType(headers: IncomingHttpHeaders): string {
  const value = headers['content-type'] as string | readonly string[] | undefined;
  const text = typeof value === 'string' ? value : value?.[0];
  if (text === undefined) return '';
  const end = text.indexOf(';');
  return (end === -1 ? text : text.slice(0, end)).trim().toLowerCase();
}

/** A word of the server as it stands, for an error text, where it is one and no longer than words are. */
export function shown(word: string | undefined): string {
  return word !== undefined && word.length <= MAX_WORD && /^[\w.+/-]+$/.test(word) ? word : '(unreadable)';
}

const MAX_WORD = 60;

export function headerText(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** `Retry-After` in seconds or as a date, as milliseconds from now, at most a minute. */
export function retryAfterMs(headers: IncomingHttpHeaders, wallTime: number): number | undefined {
  const value = headerText(headers, 'retry-after')?.trim();
  if (value === undefined || value === '') return undefined;
  const ms = /^\d+(?:\.\d+)?$/.test(value) ? Number(value) * 1000 : Date.parse(value) - wallTime;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(Math.ceil(ms), 0), MAX_RETRY_AFTER_MS);
}

/** Some servers answer 400 where the specification asks for 404; the words are those of the official SDKs. */
export function saysSessionLost(refusal: Refusal): boolean {
  return refusal.status === 404 || (refusal.status === 400 && /session/i.test(refusal.text));
}

/**
 * A session that is gone is closed after this, milliseconds, so that what was sent with it can still be told so, over a long
 * way too. Nobody new waits for it: with the first refusal the connection counts as lost.
 */
export const EXPIRY_MS = 2_000;

export function sessionExpired(server: string, refusal: Refusal): TroupeError {
  return new TroupeError(
    'connection_lost',
    `the server no longer knows our session (HTTP ${refusal.status})`,
    {
      server,
      delivery: 'unsent',
      data: { ...responseData(refusal), reason: 'session_expired' },
    },
  );
}

/**
 * What a status that is not a success means for a request. Delivery tells what is known of its execution: `unsent` where the
 * status says that it was not begun (401, 403, 429), `answered` where the server judged the request itself, `sent`
 * where it may have run (5xx, also from a proxy in between; 408 and 421, which say something about the way only).
 */
export function refused(server: string, refusal: Refusal, wallTime: number): TroupeError {
  const { status, headers } = refusal;
  const data = responseData(refusal);
  const said = refusal.text.trim() === '' ? '' : `: ${refusal.text.trim()}`;
  const detail = `the server answered HTTP ${status}${said}`;
  const retryAfter = retryAfterMs(headers, wallTime);
  if (status === 401 || status === 403) {
    const wwwAuthenticate =
      cutText(headerText(headers, 'www-authenticate') ?? '', MAX_ERROR_TEXT) || undefined;
    return new TroupeError('auth_required', detail, {
      server,
      delivery: 'unsent',
      data: { ...data, wwwAuthenticate },
    });
  }
  if (status === 429)
    return new TroupeError('rate_limited', detail, {
      server,
      delivery: 'unsent',
      retryAfterMs: retryAfter,
      data,
    });
  if ((status >= 500 && status !== 501 && status !== 505) || status === 408 || status === 421)
    return new TroupeError('unavailable', detail, {
      server,
      delivery: 'sent',
      retryAfterMs: retryAfter,
      data,
    });
  return new TroupeError('protocol_error', detail, { server, delivery: 'answered', data });
}

/** Where a redirect points, or undefined for anything else. */
export function redirectTarget(from: URL, status: number, headers: IncomingHttpHeaders): URL | undefined {
  if (status < 300 || status > 399 || status === 304) return undefined;
  const location = headerText(headers, 'location');
  if (location === undefined) return undefined;
  try {
    const target = new URL(location, from);
    target.hash = '';
    return target;
  } catch {
    return undefined;
  }
}

/** A redirect is an answer, never an instruction: following it would send the body and our headers a second time. */
export function redirected(server: string, status: number, target: URL): TroupeError {
  const shown = target.origin + target.pathname;
  return new TroupeError(
    'protocol_error',
    `the server redirects (HTTP ${status}) to ${shown}, which is not followed; configure that URL if it is the intended server`,
    { server, delivery: 'answered', data: { status, location: shown } },
  );
}

/** A success that carries nothing we can read. */
export function unexpectedContent(server: string, status: number, headers: IncomingHttpHeaders): TroupeError {
  // As the server wrote it: what is secret is recognised in no other spelling.
  const type = (headerText(headers, 'content-type') ?? '').split(';', 1)[0]?.trim() ?? '';
  const what = type === '' ? 'without a content type' : `of type ${shown(type)}`;
  const accepted = status === 202 || status === 204;
  return new TroupeError(
    'invalid_response',
    accepted
      ? `the server accepted a request with HTTP ${status} and will not answer it`
      : `the server answered HTTP ${status} with a body ${what}; application/json or text/event-stream was expected`,
    { server, delivery: 'sent', data: { status, contentType: type === '' ? type : shown(type) } },
  );
}

function responseData(refusal: Refusal): { status: number; text: string } {
  return { status: refusal.status, text: cutText(refusal.text, MAX_ERROR_TEXT) };
}
