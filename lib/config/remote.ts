import { types } from 'node:util';
import type { HttpPlace, WebSocketPlace } from './config.ts';
import { below, invalid, kindOf, scalarText, type At, type Fields } from './fields.ts';
import { expectType, type DeclaredType } from './place-type.ts';
import { expanded, type Reading } from './reading.ts';

export function readRemote(
  fields: Fields,
  urlKeys: readonly string[],
  declared: DeclaredType | undefined,
  allowInsecure: boolean,
  reading: Reading,
): HttpPlace | WebSocketPlace {
  const urls = urlKeys.map((key) => readUrl(fields, key, reading));
  const [url] = urls as [URL, ...URL[]];
  const [key = 'url', other] = urlKeys;
  if (urls.some((another) => another.href !== url.href)) {
    throw invalid(
      fields.place(other ?? key),
      `stands beside ${key} and differs from it`,
      'keep one of the two',
    );
  }
  const webSocket = url.protocol === 'ws:' || url.protocol === 'wss:';
  expectType(
    fields,
    declared,
    webSocket ? 'websocket' : 'http',
    webSocket ? ['websocket', 'remote'] : ['http', 'sse', 'remote'],
    'its address',
  );
  if ((url.protocol === 'http:' || url.protocol === 'ws:') && !allowInsecure && !isLoopback(url.hostname)) {
    throw invalid(
      fields.place(key),
      `is plain ${url.protocol.slice(0, -1)} beyond this machine`,
      `use ${url.protocol.slice(0, -1)}s, or set allowInsecure: true where the way there is trusted`,
    );
  }
  const headers = readHeaders(fields, reading);
  if (url.username !== '' || url.password !== '') moveCredentials(url, headers, fields.place(key));
  url.hash = '';
  Object.freeze(headers);
  if (webSocket) return Object.freeze({ kind: 'websocket', url, headers });
  const flavour = declared === 'sse' ? 'sse' : declared === 'http' ? 'streamable-http' : 'auto';
  return Object.freeze({ kind: 'http', url, headers, flavour });
}

function readUrl(fields: Fields, key: string, reading: Reading): URL {
  const at = fields.place(key);
  const written = fields.get(key);
  const text = written instanceof URL ? written.href : written;
  if (typeof text !== 'string')
    throw invalid(at, `is ${kindOf(written)}`, 'give an address such as https://example.com/mcp');
  let url: URL;
  try {
    url = new URL(expanded(text, at, reading).trim());
  } catch (error) {
    if (!types.isNativeError(error) || (error as NodeJS.ErrnoException).code !== 'ERR_INVALID_URL')
      throw error;
    // The text itself stays out of message and cause: a query may carry a key.
    throw invalid(at, 'is no address', 'give one such as https://example.com/mcp');
  }
  if (['http:', 'https:', 'ws:', 'wss:'].includes(url.protocol)) return url;
  throw invalid(at, `starts with ${url.protocol}`, 'http, https, ws and wss are spoken here');
}

/** As WHATWG URL writes them: `127.1` and `0x7f.1` arrive as `127.0.0.1`. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/\.$/, '');
  return (
    host === 'localhost' ||
    host.endsWith('.localhost') ||
    /^127\.\d+\.\d+\.\d+$/.test(host) ||
    host === '[::1]' ||
    /^\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\]$/.test(host)
  );
}

/** No HTTP client takes credentials in an address; as a header they are bound to the origin like any other. */
function moveCredentials(url: URL, headers: Record<string, string>, at: At): void {
  if (headers['authorization'] !== undefined) {
    throw invalid(at, 'carries credentials beside an authorization header', 'keep one of the two');
  }
  let decoded: string;
  try {
    decoded = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  } catch {
    throw invalid(at, 'carries credentials that are not percent-encoded', 'encode "%" as %25');
  }
  headers['authorization'] = `Basic ${Buffer.from(decoded, 'utf8').toString('base64')}`;
  url.username = '';
  url.password = '';
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 field values, one byte per character. */
const FIELD_VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;
/** Set by the transport or the protocol; a configured one would break framing or the session. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'content-type',
  'accept',
  'expect',
  'keep-alive',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

function readHeaders(fields: Fields, reading: Reading): Record<string, string> {
  const headers = Object.create(null) as Record<string, string>;
  const written = fields.object('headers');
  if (written === undefined) return headers;
  for (const name of Object.keys(written)) {
    const at = below(fields.place('headers'), name);
    if (!TOKEN.test(name)) throw invalid(at, 'is no name of a header', 'use letters, digits and "-"');
    const key = name.toLowerCase();
    if (OWN_HEADERS.has(key)) throw invalid(at, 'is set by the engine', 'remove it');
    const value = written[name];
    if (value === undefined || value === null) continue;
    if (headers[key] !== undefined) throw invalid(at, 'is given twice', 'keep one');
    const text = expanded(scalarText(value, at), at, reading);
    if (/[\r\n\0]/.test(text))
      throw invalid(at, 'contains a line break', 'remove it, at the end of a variable too');
    if (!FIELD_VALUE.test(text))
      throw invalid(at, 'contains characters that a header cannot carry', 'encode them');
    headers[key] = text.trim();
  }
  return headers;
}
