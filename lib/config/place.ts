import { types } from 'node:util';
import type { HttpPlace, InheritEnv, Place, StdioPlace, WebSocketPlace } from './config.ts';
import { parseDotenv } from './dotenv.ts';
import {
  below,
  fieldName,
  invalid,
  isObject,
  kindOf,
  type At,
  type Fields,
  type Unknowns,
} from './fields.ts';
import { absolute, checkDirectory, expanded, fileText, type Reading } from './reading.ts';

type Kind = 'stdio' | 'http' | 'sse' | 'websocket';

/** The names hosts give to the same four things (`protocol` §6.2). */
const TYPES: ReadonlyMap<string, Kind | 'remote'> = new Map<string, Kind | 'remote'>([
  ['stdio', 'stdio'],
  ['local', 'stdio'],
  ['http', 'http'],
  ['streamable-http', 'http'],
  ['streamableHttp', 'http'],
  ['streamable_http', 'http'],
  ['sse', 'sse'],
  ['ws', 'websocket'],
  ['websocket', 'websocket'],
  ['remote', 'remote'],
]);

/** Keys that say where a server is. */
export const PLACE_KEYS = [
  'type',
  'transportType',
  'command',
  'args',
  'env',
  'environment',
  'envFile',
  'cwd',
  'inheritEnv',
  'url',
  'serverUrl',
  'httpUrl',
  'headers',
  'server',
  'transport',
] as const;

/** Keys that name the one thing a server is; exactly one of them is given. */
const TARGET_KEYS = ['command', 'url', 'serverUrl', 'httpUrl', 'server', 'transport'] as const;
const URL_KEYS = ['url', 'serverUrl', 'httpUrl'] as const;

export function namesTarget(value: Unknowns): boolean {
  return TARGET_KEYS.some(
    (key) => Object.hasOwn(value, key) && value[key] !== undefined && value[key] !== null,
  );
}

/** Whether a value can be the entry of one server, as opposed to a map of servers. */
export function looksLikeServer(value: unknown): boolean {
  if (!isObject(value)) return false;
  const text = (key: string): boolean => Object.hasOwn(value, key) && typeof value[key] === 'string';
  const call = (key: string): boolean => Object.hasOwn(value, key) && typeof value[key] === 'function';
  return (
    text('command') ||
    URL_KEYS.some(text) ||
    (Object.hasOwn(value, 'url') && value['url'] instanceof URL) ||
    call('server') ||
    call('transport') ||
    ['command', 'replicas', 'tiers'].some((key) => Object.hasOwn(value, key) && Array.isArray(value[key]))
  );
}

const PROGRAM_KEYS: readonly string[] = ['args', 'env', 'environment', 'envFile', 'cwd', 'inheritEnv'];

/** What a server's fields can mean for a replica that names its own target. */
function sharedKeys(server: Unknowns, replica: Unknowns): readonly string[] {
  const kinds = Object.hasOwn(replica, 'command')
    ? PROGRAM_KEYS
    : URL_KEYS.some((k) => Object.hasOwn(replica, k))
      ? ['headers']
      : [];
  // Beside a target of the server, `args` and `type` belong to that target.
  return namesTarget(server) ? kinds.filter((key) => key !== 'args') : [...kinds, 'type', 'transportType'];
}

/**
 * Fields of a server hold for its replicas: `env` and `headers` are joined, others are replaced. A replica that names
 * a target of its own takes only what can mean something there.
 */
export function inherited(server: Unknowns, replica: Unknowns): Unknowns {
  const result = Object.create(null) as Record<string, unknown>;
  for (const key of namesTarget(replica) ? sharedKeys(server, replica) : PLACE_KEYS) {
    if (Object.hasOwn(server, key)) result[key] = server[key];
  }
  for (const key of Object.keys(replica)) {
    const [above, value] = [result[key], replica[key]];
    const joined =
      (key === 'env' || key === 'environment' || key === 'headers') && isObject(above) && isObject(value);
    result[key] = joined ? join(above, value, key === 'headers') : value;
  }
  return result;
}

function join(above: Unknowns, value: Unknowns, ignoreCase: boolean): Unknowns {
  const name = (key: string): string => (ignoreCase ? key.toLowerCase() : key);
  const replaced = new Set(Object.keys(value).map(name));
  const kept = Object.entries(above).filter(([key]) => !replaced.has(name(key)));
  return Object.assign(Object.create(null) as Record<string, unknown>, Object.fromEntries(kept), value);
}

/** `kind`, `flavour` and a flat place back into the words of the input: for a `ResolvedServer` that was spread and changed. */
export function placeAsInput(where: Unknowns): Unknowns {
  const { kind, flavour, ...rest } = where;
  if (kind === 'http') return { ...rest, ...(flavour === 'auto' ? {} : { type: flavour }) };
  return rest;
}

export function readPlace(fields: Fields, allowInsecure: boolean, reading: Reading): Place {
  const given = TARGET_KEYS.filter((key) => fields.get(key) !== undefined);
  const urls = given.filter((key) => (URL_KEYS as readonly string[]).includes(key));
  const targets = given.length - Math.max(0, urls.length - 1);
  if (targets === 0) {
    throw invalid(
      fields.at,
      'says nowhere what to run or where to connect',
      'give one of command, url, server, transport',
    );
  }
  if (targets > 1) {
    throw invalid(
      fields.place(given[1] ?? ''),
      `stands beside ${given[0]}`,
      `keep one of ${given.join(', ')}`,
    );
  }
  const declared = readType(fields);
  const [target = 'command'] = given;
  if (target === 'command') {
    expectType(fields, declared, 'stdio', ['stdio'], 'command');
    refuse(fields, ['headers'], 'command');
    return readStdio(fields, reading);
  }
  refuse(fields, ['args', 'env', 'environment', 'envFile', 'cwd'], target);
  if (target !== 'server' && target !== 'transport') {
    return readRemote(fields, urls, declared, allowInsecure, reading);
  }
  refuse(fields, ['headers'], target);
  const make = fields.callable(target) as () => unknown;
  return Object.freeze(
    target === 'server' ? { kind: 'in-process', server: make } : { kind: 'custom', transport: make },
  );
}

function readType(fields: Fields): Kind | 'remote' | undefined {
  const key = fields.get('type') === undefined ? 'transportType' : 'type';
  const written = fields.get(key);
  if (written === undefined) return undefined;
  const type = typeof written === 'string' ? TYPES.get(written) : undefined;
  if (type !== undefined) return type;
  const shown =
    typeof written === 'string' && written.length <= 40 ? JSON.stringify(written) : kindOf(written);
  throw invalid(fields.place(key), `is ${shown}`, 'choose one of stdio, http, sse, ws, or leave it out');
}

function expectType(
  fields: Fields,
  declared: Kind | 'remote' | undefined,
  found: string,
  allowed: readonly string[],
  target: string,
): void {
  if (declared === undefined || allowed.includes(declared)) return;
  throw invalid(
    fields.place('type'),
    `is ${declared}, but ${target} means ${found}`,
    'correct one of the two',
  );
}

/** Fields that would be ignored are refused: whoever wrote them expects an effect. Empty ones are harmless. */
function refuse(fields: Fields, keys: readonly string[], target: string): void {
  for (const key of keys) {
    const value = fields.get(key);
    const empty =
      value === undefined ||
      value === '' ||
      (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
    if (!empty) throw invalid(fields.place(key), `has no meaning beside ${target}`, 'remove it');
  }
}

// ── stdio ───────────────────────────────────────────────────────────────────────────────────────────────────────

function readStdio(fields: Fields, reading: Reading): StdioPlace {
  const [command, first] = readCommand(fields, reading);
  const args = [...first, ...readArgs(fields, reading)];
  if (args.length === 0 && /\s/.test(command) && !/[\\/]/.test(command)) {
    const at = fields.place('command');
    reading.warnings.push(
      `${at.server ?? ''}: ${fieldName(at.path)} contains spaces and no args are given; a program is named there, its arguments belong into args`,
    );
  }
  const cwd = fields.text('cwd');
  let directory = reading.cwd;
  if (cwd !== undefined) {
    directory = absolute(expanded(cwd, fields.place('cwd'), reading), reading);
    checkDirectory(directory, fields.place('cwd'));
  }
  return Object.freeze({
    kind: 'stdio',
    command,
    args: Object.freeze(args),
    env: readEnv(fields, reading),
    cwd: directory,
    inheritEnv: readInherit(fields),
  });
}

function readCommand(fields: Fields, reading: Reading): [string, string[]] {
  const value = fields.get('command');
  const parts = Array.isArray(value) ? (value as unknown[]) : [value];
  const read = parts.map((part, i) => {
    const at = Array.isArray(value) ? below(fields.place('command'), i) : fields.place('command');
    if (typeof part !== 'string') throw invalid(at, `is ${kindOf(part)}`, 'give a text');
    return withoutNul(expanded(part, at, reading), at);
  });
  const [command, ...args] = read;
  if (command === undefined || command.trim() === '') {
    throw invalid(fields.place('command'), 'is empty', 'name the program to run');
  }
  return [command, args];
}

function readArgs(fields: Fields, reading: Reading): string[] {
  const value = fields.get('args');
  if (value === undefined) return [];
  const at = fields.place('args');
  if (!Array.isArray(value))
    throw invalid(at, `is ${kindOf(value)}`, 'give a list of texts, one argument each');
  return value.map((item: unknown, i) => {
    const place = below(at, i);
    return withoutNul(expanded(scalarText(item, place), place, reading), place);
  });
}

/** YAML and JSON writers leave numbers and booleans unquoted. */
function scalarText(value: unknown, at: At): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value)))
    return String(value);
  throw invalid(at, `is ${kindOf(value)}`, 'give a text');
}

function withoutNul(text: string, at: At): string {
  if (text.includes('\0')) throw invalid(at, 'contains a NUL character', 'remove it');
  return text;
}

function readEnv(fields: Fields, reading: Reading): Readonly<Record<string, string | null>> {
  const env = Object.create(null) as Record<string, string | null>;
  const envFile = fields.text('envFile');
  if (envFile !== undefined) {
    const at = fields.place('envFile');
    const path = absolute(expanded(envFile, at, reading), reading);
    const { values, badLines } = parseDotenv(fileText(path, at));
    if (badLines[0] !== undefined) {
      throw invalid(
        at,
        `names ${path}, whose line ${badLines[0]} is no assignment`,
        'write KEY=value, or # before a comment',
      );
    }
    for (const [key, value] of values) env[key] = value;
  }
  for (const key of ['environment', 'env']) {
    const written = fields.object(key);
    if (written === undefined) continue;
    for (const name of Object.keys(written)) {
      const at = below(fields.place(key), name);
      if (name === '' || /[=\0]/.test(name))
        throw invalid(at, 'is no name of a variable', 'remove "=" and NUL from it');
      const value = written[name];
      if (value === undefined) continue;
      env[name] = value === null ? null : withoutNul(expanded(scalarText(value, at), at, reading), at);
    }
  }
  return Object.freeze(env);
}

function readInherit(fields: Fields): InheritEnv {
  const value = fields.get('inheritEnv');
  if (value === undefined || value === false || value === 'safe') return 'safe';
  if (value === true || value === 'all') return 'all';
  if (typeof value === 'string') {
    throw invalid(
      fields.place('inheritEnv'),
      'is an unknown word',
      'give true, false, "safe", "all" or a list of names',
    );
  }
  return fields.texts('inheritEnv') ?? 'safe';
}

// ── remote ──────────────────────────────────────────────────────────────────────────────────────────────────────

function readRemote(
  fields: Fields,
  urlKeys: readonly string[],
  declared: Kind | 'remote' | undefined,
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
