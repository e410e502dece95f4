import type { ResolvedServer } from '../config/config.ts';
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

/** Whatever the configuration of a server holds that must not leave the engine but towards that server. */
export function secretsOf(server: ResolvedServer): readonly string[] {
  const found: string[] = [];
  for (const { where } of server.replicas) {
    if (where.kind === 'stdio') {
      for (const [name, value] of Object.entries(where.env)) {
        if (typeof value === 'string' && (isSecretName(name) || LOOKS_SECRET.test(value))) found.push(value);
      }
      found.push(...secretArguments(where.args));
    } else if (where.kind === 'http' || where.kind === 'websocket') {
      for (const [name, value] of Object.entries(where.headers)) {
        if (PLAIN_HEADERS.has(name.toLowerCase())) continue;
        found.push(value, value.slice(value.indexOf(' ') + 1));
      }
      found.push(...secretsOfUrl(where.url));
    }
  }
  collect(server.auth, 'auth', found, 0);
  collect(server.tls, 'tls', found, 0);
  return found;
}

/** `--token X`, `--api-key=X`, and what looks like a token wherever it stands. */
function secretArguments(args: readonly string[]): readonly string[] {
  return args.flatMap((arg, i) => {
    const equals = arg.indexOf('=');
    const name = arg.slice(0, equals < 0 ? undefined : equals).replace(/^-+/, '');
    if (equals > 0 && isSecretName(name)) return [arg.slice(equals + 1)];
    const before = args[i - 1];
    const flagged =
      before?.startsWith('-') === true && !before.includes('=') && isSecretName(before.replace(/^-+/, ''));
    return flagged || (!arg.startsWith('-') && !arg.startsWith('@') && LOOKS_SECRET.test(arg)) ? [arg] : [];
  });
}

function secretsOfUrl(url: URL): readonly string[] {
  const user = [decoded(url.password), decoded(url.username)];
  return [...user, url.password, ...url.searchParams.values()];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** In `auth` and `tls` the field says what it is: keys and tokens are found by their names. */
function collect(value: unknown, name: string, found: string[], depth: number): void {
  if (typeof value === 'string') {
    if (isSecretName(name) || name === 'key' || name === 'bearer') found.push(value);
  } else if (typeof value === 'object' && value !== null && depth < 6 && !ArrayBuffer.isView(value)) {
    for (const [key, item] of Object.entries(value))
      collect(item, Array.isArray(value) ? name : key, found, depth + 1);
  }
}
