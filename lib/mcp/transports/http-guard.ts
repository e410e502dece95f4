import { lookup as dnsLookup, type LookupAddress, type LookupAllOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { createSecureContext } from 'node:tls';
import {
  Agent,
  Pool,
  buildConnector,
  fetch,
  type RequestInit,
  type Response as UndiciResponse,
} from 'undici';
import { TroupeError, errorText, isTroupeError } from '../../core/errors.ts';
import type { Limits } from '../../core/limits.ts';

/** Identity and trust towards one server. PEM text, not paths. */
export interface TlsOptions {
  /** Certificates to trust instead of those of the system. */
  readonly ca?: string | readonly string[] | undefined;
  /** Our own certificate and key, for servers that ask for one. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly passphrase?: string | undefined;
  /** Name to ask for and to check, where it is not the host of the URL. */
  readonly servername?: string | undefined;
  /** Default true. */
  readonly rejectUnauthorized?: boolean | undefined;
}

/**
 * Addresses that are not somewhere on the public internet: loopback, private, link-local (cloud metadata services live
 * there), shared, reserved, documentation, multicast, and the IPv6 forms that carry an IPv4 address (IANA special-purpose registries). Mapped addresses
 * (`::ffff:127.0.0.1`) are matched by the IPv4 rules.
 */
const PRIVATE = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  PRIVATE.addSubnet(net, prefix, 'ipv4');
for (const [net, prefix] of [
  // Unspecified, loopback and the deprecated IPv4-compatible form.
  ['::', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const)
  PRIVATE.addSubnet(net, prefix, 'ipv6');

/** Whether an IP address (without brackets or zone) is one that a URL found on the network must not lead to. */
export function isPrivateAddress(address: string): boolean {
  const bare = address.replace(/%.*$/, '');
  const family = isIP(bare);
  if (family === 0) return false;
  return PRIVATE.check(bare, family === 4 ? 'ipv4' : 'ipv6');
}

/** Sockets that `connect` refuses to open: `true` lets the host through although it is private. */
type AllowPrivate = boolean | ((host: string) => boolean);

export interface ConnectorOptions {
  readonly tls?: TlsOptions | undefined;
  /** Whether private addresses may be connected to, literal or after DNS. */
  readonly allowPrivate: AllowPrivate;
  readonly server?: string | undefined;
  /** For TCP and TLS together, milliseconds. */
  readonly connectTimeoutMs?: number | undefined;
}

/** Ten seconds to connect (reliability §8). */
const CONNECT_TIMEOUT_MS = 10_000;

/** How sockets are opened: TLS settings checked at once, private addresses refused where they are not allowed. */
export function createConnector(options: ConnectorOptions): buildConnector.connector {
  const { tls, allowPrivate, server } = options;
  const secure = tlsSettings(tls, server);
  const open = (lookup: LookupFunction | undefined): buildConnector.connector =>
    buildConnector({
      ...secure,
      timeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      ...(lookup === undefined ? {} : { lookup }),
    });
  const free = open(undefined);
  if (allowPrivate === true) return free;
  const guarded = open(publicLookup(server));
  return (target, callback) => {
    const host = bareHost(target.hostname);
    if (typeof allowPrivate === 'function' && allowPrivate(host)) return free(target, callback);
    // Node does not ask `lookup` about literal addresses.
    if (isPrivateAddress(host)) return callback(privateAddress(host, host, server), null);
    return guarded(target, callback);
  };
}

function tlsSettings(tls: TlsOptions | undefined, server: string | undefined): Record<string, unknown> {
  if (tls === undefined) return {};
  const settings: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(tls)) if (value !== undefined) settings[key] = value as unknown;
  try {
    createSecureContext(settings);
  } catch (error) {
    throw new TroupeError('config_invalid', `tls: ${errorText(error)}; give ca, cert and key as PEM text`, {
      server,
      cause: error,
    });
  }
  return settings;
}

function publicLookup(server: string | undefined): LookupFunction {
  return (hostname, options, callback) => {
    const all: LookupAllOptions = { ...(options as LookupAllOptions), all: true };
    dnsLookup(hostname, all, (error, addresses: LookupAddress[]) => {
      if (error !== null) return callback(error, '', 0);
      // One private address among public ones is how a rebinding attack looks.
      const found = addresses.find(({ address }) => isPrivateAddress(address));
      if (found !== undefined) return callback(privateAddress(hostname, found.address, server), '', 0);
      if ((options as { all?: boolean }).all === true) return callback(null, addresses);
      const [first] = addresses;
      return callback(null, first?.address ?? '', first?.family ?? 0);
    });
  };
}

function privateAddress(host: string, address: string, server: string | undefined): TroupeError {
  return new TroupeError(
    'denied',
    `${host} is not a public address${host === address ? '' : ` (${address})`}; a URL found on the network must not lead there`,
    { server, data: { host, address, reason: 'private_address' } },
  );
}

function isLoopback(host: string): boolean {
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    (isIP(host) === 4 && host.startsWith('127.')) ||
    host === '::1'
  );
}

function bareHost(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

/** `fetch` as the MCP SDK calls it; `onTooLong` is told of a body above the limit, also where its reader keeps that to itself. */
export type GuardedFetch = (
  url: string | URL,
  init?: globalThis.RequestInit,
  onTooLong?: (error: TroupeError) => void,
) => Promise<globalThis.Response>;

export interface GuardedFetchOptions {
  readonly server: string;
  readonly limits: Limits;
  /** The configured server: its host may be private, and only its origin gets `headers` and the client certificate. */
  readonly origin: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly tls?: TlsOptions | undefined;
  /** Further hosts that may be private although they were found on the network. Default: none. */
  readonly allowPrivate?: AllowPrivate | undefined;
  /** Plain http beyond loopback is accepted. Default false. */
  readonly allowInsecure?: boolean | undefined;
}

/** A metadata or token document is small; anything larger is not one. Bytes after decompression. */
const MAX_DOCUMENT_BYTES = 1_048_576;

/**
 * A `fetch` for URLs that a server names: OAuth metadata, token and registration endpoints. Only https (http to loopback hosts that are
 * allowed), no private addresses, redirects handed back and never followed, bodies and silence limited, configured
 * headers for the configured origin alone. It has an agent of its own; `close` ends its sockets.
 */
export function createGuardedFetch(options: GuardedFetchOptions): {
  readonly fetch: GuardedFetch;
  close(): Promise<void>;
} {
  const { server, limits, allowPrivate = false } = options;
  const own = new URL(options.origin);
  const ownHost = bareHost(own.hostname);
  // A server on this machine may name another port of it; a server elsewhere may not name this machine.
  const mayBePrivate = (host: string): boolean =>
    host === ownHost ||
    (isLoopback(ownHost) && isLoopback(host)) ||
    allowPrivate === true ||
    (typeof allowPrivate === 'function' && allowPrivate(host));
  const foreign = createConnector({ allowPrivate: mayBePrivate, server });
  const home = createConnector({ tls: options.tls, allowPrivate: true, server });
  const agent = new Agent({
    factory: (origin, opts) =>
      new Pool(origin, {
        ...(opts as Pool.Options),
        connections: 8,
        connect: new URL(origin).origin === own.origin ? home : foreign,
        maxHeaderSize: limits.headerBytes,
        headersTimeout: limits.requestIdleMs,
        bodyTimeout: limits.requestIdleMs,
      }),
  });
  const maxBytes = Math.min(limits.messageBytes, MAX_DOCUMENT_BYTES);

  const guarded: GuardedFetch = async (input, init = {}, onTooLong = () => {}) => {
    const url = new URL(input);
    const host = bareHost(url.hostname);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && plainAllowed(url, host))) {
      throw new TroupeError('denied', `${url.origin} is not https; a URL found on the network must be`, {
        server,
        data: { url: url.origin, reason: 'insecure_url' },
      });
    }
    const headers = new Headers(init.headers);
    if (url.origin === own.origin) {
      for (const [name, value] of Object.entries(options.headers ?? {}))
        if (!headers.has(name)) headers.set(name, value);
    }
    const request = { ...init, headers: [...headers], redirect: 'manual', dispatcher: agent } as RequestInit;
    try {
      const response = await fetch(url, request);
      return limited(response, maxBytes, server, onTooLong);
    } catch (error) {
      const cause = (error as { cause?: unknown }).cause;
      throw isTroupeError(cause) ? cause : error;
    }
  };

  function plainAllowed(url: URL, host: string): boolean {
    return (
      options.allowInsecure === true || url.origin === own.origin || (isLoopback(host) && mayBePrivate(host))
    );
  }

  return { fetch: guarded, close: () => agent.destroy() };
}

/**
 * The same response as one of the platform's own class (the SDK asks `instanceof`), whose body fails as soon as it is longer
 * than the limit.
 */
function limited(
  response: UndiciResponse,
  maxBytes: number,
  server: string,
  onTooLong: (error: TroupeError) => void,
): Response {
  const body = response.body as ReadableStream<Uint8Array> | null;
  let seen = 0;
  const counted = body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        seen += chunk.byteLength;
        if (seen <= maxBytes) return controller.enqueue(chunk);
        const error = new TroupeError('limit_exceeded', `${response.url} sent more than ${maxBytes} bytes`, {
          server,
          delivery: 'answered',
          data: { limit: maxBytes },
        });
        onTooLong(error);
        throw error;
      },
    }),
  );
  const { status, statusText, headers, url } = response;
  const bodiless = status === 204 || status === 205 || status === 304;
  const copy = new Response(bodiless ? null : counted, { status, statusText, headers: [...headers] });
  // Who reads a redirect or an error wants to know where it came from.
  Object.defineProperty(copy, 'url', { value: url });
  return copy;
}
