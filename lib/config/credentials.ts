import { Buffer } from 'node:buffer';
import type { AuthConfig, TlsConfig } from './config.ts';
import { below, invalid, isObject, kindOf, type At, type Fields } from './fields.ts';
import { absolute, expanded, fileText, type Reading } from './reading.ts';

/** Cursor writes OAuth settings in capitals; the keys mean the same. */
const AUTH_ALIASES: ReadonlyMap<string, string> = new Map([
  ['CLIENT_ID', 'clientId'],
  ['CLIENT_SECRET', 'clientSecret'],
]);

/** `auth`, or `oauth` of Claude Code and VS Code. Variables in its texts are expanded; what they mean is read by `mcp`. */
export function readAuth(fields: Fields, reading: Reading): AuthConfig | undefined {
  const oauth = fields.get('oauth');
  const auth = fields.get('auth');
  if (auth !== undefined && oauth !== undefined) {
    throw invalid(fields.place('oauth'), 'stands beside auth', 'keep one of the two');
  }
  const key = auth === undefined ? 'oauth' : 'auth';
  const written = auth ?? oauth;
  if (written === undefined || written === false) return undefined;
  const at = fields.place(key);
  if (!isObject(written)) throw invalid(at, `is ${kindOf(written)}`, 'give an object');
  // An object with behaviour (a provider of the SDK) stays the object it is.
  const prototype: unknown = Object.getPrototypeOf(written);
  if (prototype !== Object.prototype && prototype !== null) return written;
  const result = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(written)) {
    const known = AUTH_ALIASES.get(name) ?? name;
    if (known !== name && Object.hasOwn(written, known)) {
      throw invalid(below(at, name), `stands beside ${known}`, 'keep one of the two');
    }
    result[known] = expandedDeep(written[name], below(at, name), reading, 0);
  }
  return Object.freeze(result);
}

const MAX_DEPTH = 16;

function expandedDeep(value: unknown, at: At, reading: Reading, depth: number): unknown {
  if (typeof value === 'string') return expanded(value, at, reading);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) throw invalid(at, 'is nested too deeply', `nest at most ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) {
    return Object.freeze(value.map((item, i) => expandedDeep(item, below(at, i), reading, depth + 1)));
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const result = Object.create(null) as Record<string, unknown>;
  for (const [key, item] of Object.entries(value))
    result[key] = expandedDeep(item, below(at, key), reading, depth + 1);
  return Object.freeze(result);
}

export function readTls(parent: Fields, allowInsecure: boolean, reading: Reading): TlsConfig | undefined {
  const fields = parent.fields('tls');
  if (fields === undefined) return undefined;
  const ca = readAuthorities(fields, reading);
  const cert = readPem(fields, 'cert', 'certFile', reading);
  const key = readPem(fields, 'key', 'keyFile', reading);
  if ((cert === undefined) !== (key === undefined)) {
    const missing = cert === undefined ? 'cert' : 'key';
    throw invalid(fields.place(missing), 'is missing', 'give certificate and key together');
  }
  const rejectUnauthorized = fields.boolean('rejectUnauthorized') ?? true;
  if (!rejectUnauthorized && !allowInsecure) {
    throw invalid(
      fields.place('rejectUnauthorized'),
      'is false, so that anybody may answer in place of the server',
      'give the certificate of its authority as ca, or set allowInsecure: true',
    );
  }
  const passphrase = fields.text('passphrase');
  const tls: TlsConfig = {
    ca,
    cert,
    key,
    passphrase:
      passphrase === undefined ? undefined : expanded(passphrase, fields.place('passphrase'), reading),
    servername: fields.text('servername'),
    rejectUnauthorized,
  };
  fields.nothingElse();
  return Object.freeze(tls);
}

function readAuthorities(fields: Fields, reading: Reading): readonly string[] | undefined {
  const written = fields.get('ca');
  const given = Array.isArray(written) ? (written as unknown[]) : written === undefined ? [] : [written];
  const texts = given.map((item, i) =>
    pem(item, Array.isArray(written) ? below(fields.place('ca'), i) : fields.place('ca'), reading),
  );
  const file = pemFile(fields, 'caFile', reading);
  if (file !== undefined) texts.push(file);
  return texts.length === 0 ? undefined : Object.freeze(texts);
}

function readPem(fields: Fields, key: string, fileKey: string, reading: Reading): string | undefined {
  const value = fields.get(key);
  const file = pemFile(fields, fileKey, reading);
  if (value === undefined) return file;
  if (file !== undefined) throw invalid(fields.place(fileKey), `stands beside ${key}`, 'keep one of the two');
  return pem(value, fields.place(key), reading);
}

function pemFile(fields: Fields, key: string, reading: Reading): string | undefined {
  const name = fields.text(key);
  if (name === undefined) return undefined;
  const at = fields.place(key);
  return checkedPem(fileText(absolute(expanded(name, at, reading), reading), at), at);
}

function pem(value: unknown, at: At, reading: Reading): string {
  if (typeof value === 'string') return checkedPem(expanded(value, at, reading), at);
  if (value instanceof Uint8Array) return checkedPem(Buffer.from(value).toString('utf8'), at);
  throw invalid(at, `is ${kindOf(value)}`, 'give PEM text');
}

function checkedPem(text: string, at: At): string {
  if (text.includes('-----BEGIN ')) return text;
  throw invalid(at, 'is no PEM text', 'give "-----BEGIN …" text, or its path as caFile, certFile or keyFile');
}
