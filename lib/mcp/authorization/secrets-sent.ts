/** Fields of a form that an authorization server gets from us and nobody else may see (RFC 6749, 7521, 7636, 8693). */
const SECRET_FIELDS: readonly string[] = [
  'client_secret',
  'client_assertion',
  'assertion',
  'subject_token',
  'actor_token',
  'refresh_token',
  'code',
  'code_verifier',
  'password',
];

/** What a request to an authorization server carries that must stand in no log, whoever's flow has made it. */
export function secretsSent(init: RequestInit | undefined): readonly string[] {
  if (init === undefined) return [];
  const found: string[] = [];
  const authorization = new Headers(init.headers).get('authorization');
  if (authorization !== null) {
    const [scheme = '', credentials = ''] = authorization.split(/\s+(.*)/s);
    found.push(credentials);
    if (scheme.toLowerCase() === 'basic') found.push(passwordOf(credentials));
  }
  const { body } = init;
  const form =
    body instanceof URLSearchParams
      ? body
      : typeof body === 'string' && !body.startsWith('{')
        ? new URLSearchParams(body)
        : undefined;
  for (const name of SECRET_FIELDS) {
    const value = form?.get(name);
    if (value) found.push(value);
  }
  return found;
}

/** Both halves of `Basic` credentials are percent-encoded before they are joined (RFC 6749 §2.3.1). */
function passwordOf(credentials: string): string {
  const decoded = Buffer.from(credentials, 'base64').toString('utf8');
  const password = decoded.slice(decoded.indexOf(':') + 1);
  try {
    return decodeURIComponent(password);
  } catch {
    return password;
  }
}
