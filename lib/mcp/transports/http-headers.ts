import { validateHeaderName, validateHeaderValue, type IncomingHttpHeaders } from 'node:http';
import { TroupeError, errorText } from '../../core/errors.ts';
import type { Json } from '../../core/json-rpc.ts';
import { headerValue } from '../wire/param-headers.ts';

/** What credentials are for: a proof of possession names method and address. */
export interface HttpTarget {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: URL;
}

/** A refusal that other credentials may cure. */
export interface HttpChallenge {
  readonly status: number;
  readonly wwwAuthenticate: string | undefined;
  /** What `headers` gave for the message that was refused (others may have got something newer since); absent: not known. */
  readonly used?: Readonly<Record<string, string>> | undefined;
}

/** Where credentials come from, and what is done when the server refuses them. */
export interface HttpCredentials {
  /** Asked for every request; they win over configured headers of the same name. */
  headers(
    target: HttpTarget,
  ): Readonly<Record<string, string>> | undefined | Promise<Readonly<Record<string, string>> | undefined>;
  /** The server answered 401 or 403. Asked once per message: true sends the same message again, false gives up. */
  refused(challenge: HttpChallenge): Promise<boolean>;
  /**
   * The head of a response. True: the message was refused only for want of what this head brought (a nonce), and may be
   * sent again, once, without asking `refused`.
   */
  answered?(status: number, headers: IncomingHttpHeaders): boolean;
}

/** Set by us or by HTTP itself, whatever a configuration says. */
const OURS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'content-type',
  'last-event-id',
  'mcp-protocol-version',
  'mcp-session-id',
]);
const FRAMING: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Names of message headers that no caller may set. */
const RESERVED: ReadonlySet<string> = new Set([...OURS, ...FRAMING, 'authorization', 'cookie', 'dpop']);

const PROTOCOL_VERSION = 'io.modelcontextprotocol/protocolVersion';

/** What `Mcp-Name` mirrors, by method (protocol 2026-07-28, transports; `tasks/*` by their extension). */
const NAMED_BY: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** Headers of the configuration as names and values in turn, checked; the user part of the URL becomes `authorization`. */
export function configuredHeaders(
  url: URL,
  headers: Readonly<Record<string, string>>,
  server: string,
): string[] {
  const byName = new Map<string, string>([['user-agent', 'mcp-troupe']]);
  if (url.username !== '' || url.password !== '') {
    const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    byName.set('authorization', `Basic ${Buffer.from(user, 'utf8').toString('base64')}`);
  }
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (FRAMING.has(lower)) {
      throw new TroupeError('config_invalid', `headers.${name} belongs to HTTP itself; remove it`, {
        server,
      });
    }
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (error) {
      throw new TroupeError(
        'config_invalid',
        `headers.${name} is not a valid HTTP header: ${errorText(error)}`,
        { server },
      );
    }
    if (!OURS.has(lower)) byName.set(lower, value);
  }
  return [...byName].flat();
}

/** `extra` over `base`: same names are replaced. */
export function withHeaders(
  base: readonly string[],
  extra: Readonly<Record<string, string>> | undefined,
): string[] {
  if (extra === undefined) return [...base];
  const replaced = new Map(Object.entries(extra).map(([name, value]) => [name.toLowerCase(), value]));
  const merged: string[] = [];
  for (let i = 0; i < base.length; i += 2) {
    const name = base[i] ?? '';
    if (!replaced.has(name)) merged.push(name, base[i + 1] ?? '');
  }
  for (const [name, value] of replaced) if (!OURS.has(name) && !FRAMING.has(name)) merged.push(name, value);
  return merged;
}

/** The revision that a message itself names: modern ones carry it, before negotiation ends as well as after. */
export function namedRevision(params: Json | undefined): string | undefined {
  const meta = params?.['_meta'] as Json | null | undefined;
  const version = meta?.[PROTOCOL_VERSION];
  return typeof version === 'string' ? version : undefined;
}

/** From this revision on there are no sessions and no GET; dates compare as text. */
export function isModernRevision(version: string): boolean {
  return version >= '2026';
}

/** Adds what mirrors a modern message. Headers given with the message win; those that are ours to set are skipped. */
export function pushMirrorHeaders(
  headers: string[],
  method: string,
  params: Json | undefined,
  given: Readonly<Record<string, string>> | undefined,
): void {
  let methodGiven = false;
  let nameGiven = false;
  if (given !== undefined) {
    for (const name in given) {
      const lower = name.toLowerCase();
      if (RESERVED.has(lower)) continue;
      methodGiven ||= lower === 'mcp-method';
      nameGiven ||= lower === 'mcp-name';
      headers.push(lower, given[name] ?? '');
    }
  }
  if (!methodGiven) headers.push('mcp-method', headerValue(method));
  if (nameGiven) return;
  const field = NAMED_BY.get(method);
  const value = field === undefined ? undefined : params?.[field];
  if (typeof value === 'string') headers.push('mcp-name', headerValue(value));
}

/** Headers given with a message of the legacy era. */
export function pushGivenHeaders(headers: string[], given: Readonly<Record<string, string>>): void {
  for (const name in given) {
    const lower = name.toLowerCase();
    if (!RESERVED.has(lower)) headers.push(lower, given[name] ?? '');
  }
}
