/** Longest URI that templates and patterns are tried on, in characters; a longer one is found by exact match only. */
export const MAX_URI = 8192;

const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,63}(?=:)/;

/** The scheme in lower case, or '' where there is none. */
export function schemeOf(uri: string): string {
  return SCHEME.exec(uri)?.[0].toLowerCase() ?? '';
}

/** A URI in the form in which two spellings of one thing are equal; for comparing and for policies, not for sending. */
export interface NormalUri {
  /** All parts together. */
  readonly text: string;
  readonly scheme: string;
  /** Lower case; undefined where the URI has no `//`. */
  readonly authority: string | undefined;
  /** Percent-decoded once, dot segments removed. */
  readonly path: string;
  /** As written. */
  readonly query: string | undefined;
  /**
   * Why the meaning of this URI depends on who reads it. A policy that allows by prefix should refuse one that has
   * an oddity: `encoded twice`, `malformed escape`, `encoded slash`, `backslash`, `climbs above the root`, `control character`.
   */
  readonly oddity: string | undefined;
}

/**
 * Lower-cases scheme and authority, decodes the path once, then removes `.` and `..`, in this order: `%2e%2e` climbs
 * as `..` does. The fragment is dropped. Total: what cannot be decoded stays as written and is an oddity.
 */
export function normaliseUri(uri: string): NormalUri {
  const scheme = schemeOf(uri);
  let rest = scheme === '' ? uri : uri.slice(scheme.length + 1);
  const hash = rest.indexOf('#');
  if (hash !== -1) rest = rest.slice(0, hash);
  const mark = rest.indexOf('?');
  const query = mark === -1 ? undefined : rest.slice(mark + 1);
  if (mark !== -1) rest = rest.slice(0, mark);

  let oddity: string | undefined;
  const notice = (what: string): void => {
    oddity ??= what;
  };
  if (rest.includes('\\')) {
    notice('backslash');
    rest = rest.replaceAll('\\', '/');
  }
  let authority: string | undefined;
  if (rest.startsWith('//')) {
    const slash = rest.indexOf('/', 2);
    authority = rest.slice(2, slash === -1 ? undefined : slash).toLowerCase();
    rest = slash === -1 ? '' : rest.slice(slash);
  }
  if (scheme === 'file') {
    // RFC 8089: an absent, an empty and a local authority mean the same.
    if (authority === undefined || authority === 'localhost') authority = '';
  }
  if (authority?.includes('%') === true) notice('escape in the authority');

  const decoded = decodeOnce(rest, notice);
  let path = decoded;
  if (decoded.includes('\\')) {
    notice('backslash');
    path = decoded.replaceAll('\\', '/');
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what this looks for
  if (/[\u0000-\u001f\u007f]/.test(path) || /[\u0000-\u001f\u007f]/.test(query ?? ''))
    notice('control character');
  path = withoutDots(path, notice);
  const text =
    (scheme === '' ? '' : `${scheme}:`) +
    (authority === undefined ? '' : `//${authority}`) +
    path +
    (query === undefined ? '' : `?${query}`);
  return { text, scheme, authority, path, query, oddity };
}

function decodeOnce(path: string, notice: (oddity: string) => void): string {
  if (!path.includes('%')) return path;
  if (/%2f/i.test(path)) notice('encoded slash');
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    notice('malformed escape');
    return path;
  }
  if (/%[0-9a-f]{2}/i.test(decoded)) notice('encoded twice');
  return decoded;
}

/** RFC 3986 §5.2.4, also for relative paths. */
function withoutDots(path: string, notice: (oddity: string) => void): string {
  if (!/(?:^|\/)\.{1,2}(?:\/|$)/.test(path)) return path;
  const rooted = path.startsWith('/');
  const segments = path.split('/');
  if (rooted) segments.shift();
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === '..') {
      if (kept.length === 0) notice('climbs above the root');
      kept.pop();
    } else if (segment !== '.') kept.push(segment);
  }
  const last = segments[segments.length - 1];
  if ((last === '.' || last === '..') && kept.length > 0 && kept[kept.length - 1] !== '') kept.push('');
  return (rooted ? '/' : '') + kept.join('/');
}
