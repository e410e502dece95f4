const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,63}(?=:)/;

/** The scheme in lower case, or '' where there is none. URIs are made comparable in `security/uri.ts`. */
export function schemeOf(uri: string): string {
  return SCHEME.exec(uri)?.[0].toLowerCase() ?? '';
}
