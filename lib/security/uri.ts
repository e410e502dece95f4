import { MAX_URI_LENGTH } from '../core/limits.ts';

export interface NormalUri {
  /** Scheme, authority, path and query. */
  readonly full: string;
  /** Without the query: a server may ignore it, so what is forbidden without one is forbidden with any. */
  readonly bare: string;
}

const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):/;
/** Their hosts and paths have rules of their own, which the URL parser of the platform knows. */
const SPECIAL: ReadonlySet<string> = new Set(['http', 'https', 'ws', 'wss', 'ftp', 'file']);
// eslint-disable-next-line no-control-regex -- control characters are what this looks for
const CONTROL = /[\u0000-\u001f\u007f]/;
const STILL_ENCODED = /%[0-9a-f]{2}/i;

/**
 * One spelling for one resource: scheme and host in lower case, percent-encoding decoded once, backslashes and runs of
 * slashes made one slash, dot segments and a last slash removed, the fragment dropped, Unicode composed (NFC).
 * `undefined` where a server could read something else than we do: broken or nested encoding, control characters, spaces
 * around it, more than 8192 characters. Only for matching, never sent.
 */
export function normaliseUri(uri: string): NormalUri | undefined {
  if (uri.length > MAX_URI_LENGTH || CONTROL.test(uri) || uri !== uri.trim()) return undefined;
  const scheme = SCHEME.exec(uri)?.[1]?.toLowerCase();
  const parts = scheme !== undefined && SPECIAL.has(scheme) ? specialParts(uri) : plainParts(uri, scheme);
  if (parts === undefined) return undefined;
  const authority = decodeOnce(parts.authority ?? '');
  const path = decodeOnce(parts.path);
  const query = parts.query === '' ? '' : decodeLoosely(parts.query);
  if (authority === undefined || path === undefined || /[/\\?#]/.test(authority)) return undefined;
  const head = scheme === undefined ? '' : `${scheme}:`;
  const bare =
    `${head}${parts.authority === undefined ? '' : `//${authority.toLowerCase()}`}${tidyPath(path, scheme)}`.normalize(
      'NFC',
    );
  return { full: query === '' ? bare : bare + query.normalize('NFC'), bare };
}

interface Parts {
  readonly authority: string | undefined;
  readonly path: string;
  /** With its question mark, or empty. */
  readonly query: string;
}

function specialParts(uri: string): Parts | undefined {
  try {
    const url = new URL(uri);
    return { authority: url.host, path: url.pathname, query: url.search };
  } catch {
    return undefined;
  }
}

function plainParts(uri: string, scheme: string | undefined): Parts {
  const hash = uri.indexOf('#');
  const whole = uri.slice(scheme === undefined ? 0 : scheme.length + 1, hash < 0 ? undefined : hash);
  const mark = whole.indexOf('?');
  const place = mark < 0 ? whole : whole.slice(0, mark);
  const query = mark < 0 ? '' : whole.slice(mark);
  if (scheme === undefined || !/^[/\\]{2}/.test(place)) return { authority: undefined, path: place, query };
  const end = place.slice(2).search(/[/\\]/);
  return end < 0
    ? { authority: place.slice(2), path: '', query }
    : { authority: place.slice(2, end + 2), path: place.slice(end + 2), query };
}

/** `undefined` when the encoding is broken, or when a second decoding would find something new. */
function decodeOnce(text: string): string | undefined {
  if (!text.includes('%')) return text;
  try {
    const decoded = decodeURIComponent(text);
    return STILL_ENCODED.test(decoded) || CONTROL.test(decoded) ? undefined : decoded;
  } catch {
    return undefined;
  }
}

/** Queries carry URLs and percent signs of their own; what cannot be decoded is matched as it is. */
function decodeLoosely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function tidyPath(path: string, scheme: string | undefined): string {
  if (path === '') return '';
  const kept: string[] = [];
  for (const segment of path.split(/[/\\]+/)) {
    if (segment === '' || segment === '.') continue;
    if (segment === '..') kept.pop();
    else kept.push(segment);
  }
  if (scheme === 'file' && kept[0] !== undefined && /^[A-Za-z]:$/.test(kept[0]))
    kept[0] = kept[0].toLowerCase();
  const rooted = /^[/\\]/.test(path);
  return kept.length === 0 ? '' : (rooted ? '/' : '') + kept.join('/');
}

/**
 * A resource pattern in the spelling of `normaliseUri`, for `compileGlob` with kind `path`. A lone `*` means every
 * resource. Throws a `SyntaxError` for what could never match, or only by accident: dot segments, a fragment.
 */
export function normaliseUriPattern(pattern: string): string {
  if (pattern === '*' || pattern === '**') return '**';
  if (pattern.includes('#'))
    throw new SyntaxError('a pattern has no fragment: resources are matched without theirs');
  const scheme = SCHEME.exec(pattern)?.[1]?.toLowerCase();
  if (scheme === undefined) return pattern;
  const rest = scheme === 'file' ? filePattern(pattern.slice(5)) : pattern.slice(scheme.length + 1);
  const mark = rest.indexOf('?');
  const place = mark < 0 ? rest : rest.slice(0, mark);
  const query = mark < 0 ? '' : rest.slice(mark);
  const slash = place.startsWith('//') ? place.indexOf('/', 2) : 0;
  const authority = slash < 0 ? place : place.slice(0, slash);
  const path = decodePattern(slash < 0 ? '' : place.slice(slash));
  const segments = path.split('/');
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw new SyntaxError('a pattern has no dot segments: write the path they lead to');
  }
  const rooted = path.startsWith('/') ? '/' : '';
  const named = segments.filter((segment) => segment !== '');
  if (scheme === 'file' && named[0] !== undefined && /^[A-Za-z]:$/.test(named[0]))
    named[0] = named[0].toLowerCase();
  const tidy = named.length === 0 ? '' : rooted + named.join('/');
  return `${scheme}:${hostPattern(authority, scheme)}${tidy}${decodePattern(query)}`.normalize('NFC');
}

/** One slash or three, with `localhost` or without: all the same place. */
function filePattern(rest: string): string {
  if (!rest.startsWith('/')) throw new SyntaxError('a file pattern begins with file:///');
  return rest.startsWith('//') ? rest.replace(/^\/\/localhost(?=\/|$)/i, '//') : `//${rest}`;
}

/** The host as the platform would spell it, where it is a whole one; only in lower case where it has wildcards. */
function hostPattern(authority: string, scheme: string): string {
  if (authority === '' || authority === '//' || authority.includes('*') || !SPECIAL.has(scheme))
    return authority.toLowerCase();
  try {
    return `//${new URL(`${scheme}:${authority}`).host}`;
  } catch {
    throw new SyntaxError(`"${authority}" is not a host`);
  }
}

function decodePattern(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded).replace(/[*\\]/g, '\\$&');
    } catch {
      throw new SyntaxError(`"${encoded}" is not percent-encoded UTF-8`);
    }
  });
}
