import type { Config, ResolvedServer } from '../config/config.ts';
import type { Redactor } from '../security/redaction.ts';
import { isSecretName } from '../security/secret-names.ts';

/** Long enough, mixed enough and no path: a value that nobody would write into a log on purpose. */
const LOOKS_SECRET = /^(?=.*\d)(?=.*[A-Za-z])[^\s/\\]{16,}$/;
/** Headers that say nothing about who we are. */
const PLAIN_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'content-type',
  'user-agent',
  'accept-language',
]);
/** `tls.key`, `auth.bearer`, and the private parts of a JWK (RFC 7518 §6). */
const KEY_FIELDS: ReadonlySet<string> = new Set(['key', 'bearer', 'd', 'p', 'q', 'dp', 'dq', 'qi', 'k']);

/**
 * Secrets obtained at run time that are still looked for, of each server. A refresh brings two tokens: with tokens of an
 * hour these are the last eight hours, long after a token has ceased to be one.
 */
const RECENT = 16;

/** Lets the redactor look for the last secrets of each server: tokens come and go as long as an engine runs. */
export function recentSecrets(redactor: Redactor): (server: string, secret: string) => void {
  const servers = new Map<string, string[]>();
  return (server, secret) => {
    let known = servers.get(server);
    if (known === undefined) servers.set(server, (known = []));
    const at = known.indexOf(secret);
    if (at >= 0) known.splice(at, 1);
    else if (!redactor.add(secret)) return;
    known.push(secret);
    if (known.length > RECENT) redactor.remove(known.shift() as string);
  };
}

/** Whatever the configuration of a server holds that must not leave the engine but towards that server. */
export function secretsOf(server: ResolvedServer): readonly string[] {
  const found: string[] = [];
  for (const { where } of server.replicas) {
    if (where.kind === 'stdio') {
      for (const [name, value] of Object.entries(where.env)) {
        if (typeof value === 'string' && (isSecretName(name) || looksSecret(value)))
          found.push(value, ...keyLines(value));
      }
      found.push(...secretArguments(where.args));
    } else if (where.kind === 'http' || where.kind === 'websocket') {
      for (const [name, value] of Object.entries(where.headers)) found.push(...headerSecrets(name, value));
      found.push(...urlSecrets(where.url.href));
    }
  }
  collect(server.auth, 'auth', found, 0);
  collect(server.tls, 'tls', found, 0);
  return found;
}

/** Of the token vault and the audit trail, where they are given as text or bytes. */
export function keysOf({ vault, audit }: Config): readonly string[] {
  const found: string[] = [];
  collect([vault, audit], 'key', found, 0);
  return found;
}

export function looksSecret(text: string): boolean {
  return LOOKS_SECRET.test(text);
}

/** In `auth` and `tls` the field says what it is: keys and tokens are found by their names. */
export function isSecretField(name: string): boolean {
  return isSecretName(name) || KEY_FIELDS.has(name);
}

/** The value whole, and without the scheme in front of it; of `Basic` also the user and the password in it. */
export function headerSecrets(name: string, value: string): readonly string[] {
  if (PLAIN_HEADERS.has(name.toLowerCase())) return [];
  const bare = value.slice(value.indexOf(' ') + 1);
  if (!/^basic /i.test(value)) return [value, bare];
  const pair = Buffer.from(bare, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon < 0 ? [value, bare] : [value, bare, pair.slice(0, colon), pair.slice(colon + 1)];
}

/** `--token X`, `--api-key=X`, and what looks like a token wherever it stands. */
export function secretArguments(args: readonly string[]): readonly string[] {
  return args.flatMap((arg, i) => {
    const equals = arg.indexOf('=');
    const name = arg.slice(0, equals < 0 ? undefined : equals).replace(/^-+/, '');
    if (equals > 0 && isSecretName(name)) return [arg.slice(equals + 1)];
    const before = args[i - 1];
    const flagged =
      before?.startsWith('-') === true && !before.includes('=') && isSecretName(before.replace(/^-+/, ''));
    return flagged || (!arg.startsWith('-') && !arg.startsWith('@') && looksSecret(arg)) ? [arg] : [];
  });
}

/** User, password and the values of the query; also of an address that cannot be read. */
export function urlSecrets(text: string): readonly string[] {
  const user = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)@/i.exec(text)?.[1] ?? '';
  const colon = user.indexOf(':');
  const parts = colon < 0 ? [user] : [user.slice(0, colon), user.slice(colon + 1)];
  const query = /\?([^#]*)/.exec(text)?.[1] ?? '';
  for (const pair of query.split('&')) parts.push(pair.slice(pair.indexOf('=') + 1));
  return parts.filter(Boolean).flatMap((part) => [part, decoded(part)]);
}

/** What a log line would show of a key in PEM: one of its lines. */
export function keyLines(text: string): readonly string[] {
  return text.includes('PRIVATE KEY-----')
    ? text.split(/\r?\n/).filter((line) => line.length >= 32 && !line.startsWith('-----'))
    : [];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function collect(value: unknown, name: string, found: string[], depth: number): void {
  if (typeof value === 'string') {
    if (isSecretField(name)) found.push(value, ...keyLines(value));
  } else if (value instanceof Uint8Array && isSecretField(name)) {
    collect(Buffer.from(value).toString('latin1'), name, found, depth);
  } else if (typeof value === 'object' && value !== null && depth < 6 && !ArrayBuffer.isView(value)) {
    for (const [key, item] of Object.entries(value))
      collect(item, Array.isArray(value) ? name : key, found, depth + 1);
  }
}
