import { TroupeError } from '../../core/errors.ts';
import type { Json } from '../../core/json-rpc.ts';

/** What a host brings back: a token it has, or what the authorization server has sent the browser back with. */
export type Answer =
  | { readonly kind: 'token'; readonly token: string }
  | {
      readonly kind: 'callback';
      readonly params: URLSearchParams;
      /** The host took the code out itself and may have checked the state itself. */
      readonly bare: boolean;
    };

/**
 * Reads `{ token }`, `{ url }` (where the browser was sent back to), `{ searchParams }` (of it) or `{ code, state?, iss? }`.
 * Anything else is `invalid_request`. What is read stays out of the error: it is a secret.
 */
export function readAnswer(answer: Json, server: string): Answer {
  const { token, url, searchParams, code } = answer;
  if (typeof token === 'string' && token !== '') return { kind: 'token', token };
  if (typeof url === 'string' || url instanceof URL) {
    const text = String(url);
    if (!URL.canParse(text)) throw unreadable('url is no address', server);
    return { kind: 'callback', params: new URL(text).searchParams, bare: false };
  }
  if (typeof searchParams === 'string' || searchParams instanceof URLSearchParams)
    return { kind: 'callback', params: new URLSearchParams(searchParams), bare: false };
  if (typeof code === 'string' && code !== '') {
    const params = new URLSearchParams({ code });
    for (const name of ['state', 'iss'] as const) {
      const value = answer[name];
      if (typeof value === 'string') params.set(name, value);
    }
    return { kind: 'callback', params, bare: true };
  }
  throw unreadable('the answer holds none of token, url, searchParams, code', server);
}

function unreadable(problem: string, server: string): TroupeError {
  return new TroupeError(
    'invalid_request',
    `${problem}; give { url } with the address the browser was sent back to, { code, state, iss } of it, or { token }`,
    { server },
  );
}
