import { createHash } from 'node:crypto';
import type { AuthConfig, CredentialContext, ResolvedServer, TokenSource } from '../config/config.ts';
import type { Principal } from '../core/request.ts';

/** Whose credentials a connection uses: part of its id, `server#replica@label`. */
export interface CredentialScope {
  /** The principal's id or the tenant, in characters that an id may have. */
  readonly label: string;
  /** The context that the callbacks of the host are given. */
  readonly context: CredentialContext;
}

/** Labels stay readable up to this many characters; what is longer is shortened with a hash. */
const MAX_LABEL = 64;
/** 128 bits. */
const HASH_LENGTH = 32;

/** `undefined`: the credentials of the server itself, which are those of requests on nobody's behalf as well. */
export function scopeOf(
  server: ResolvedServer,
  principal: Principal | undefined,
): CredentialScope | undefined {
  const per = server.auth?.per ?? 'server';
  if (per === 'server' || principal === undefined) return undefined;
  const tenant = principal.tenant ?? principal.id;
  return per === 'tenant'
    ? { label: labelOf(tenant), context: { server: server.name, principal: undefined, tenant } }
    : { label: labelOf(principal.id), context: { server: server.name, principal, tenant } };
}

/** Different texts have different labels, and none has a character that an id uses itself. */
function labelOf(text: string): string {
  // What is no Unicode text (half a surrogate pair) cannot be encoded: it becomes another text, and is hashed below.
  const plain = Buffer.from(text, 'utf8').toString('utf8');
  const label = encodeURIComponent(plain).replaceAll('~', '%7E');
  if (plain === text && label !== '' && label.length <= MAX_LABEL) return label;
  const hash = createHash('sha256').update(text, 'utf16le').digest('hex').slice(0, HASH_LENGTH);
  // Nobody can choose an id that reads like this: a tilde of their own is encoded.
  return `${label.slice(0, MAX_LABEL - HASH_LENGTH - 1)}~${hash}`;
}

/** The server as one scope sees it: connections with ids of their own, opened by the first request, its own credentials. */
export function serverOfScope(server: ResolvedServer, scope: CredentialScope): ResolvedServer {
  return Object.freeze({
    ...bound(server, scope.context),
    lazy: true,
    replicas: server.replicas.map((replica) => ({ ...replica, id: `${replica.id}@${scope.label}` })),
  });
}

/** Whatever the host asks for credentials is told whose; with `per: 'server'` it is told nobody, since all share them. */
export function bound(server: ResolvedServer, context: CredentialContext): ResolvedServer {
  return server.auth === undefined ? server : { ...server, auth: boundAuth(server.auth, context) };
}

function boundAuth(auth: AuthConfig, context: CredentialContext): AuthConfig {
  switch (auth.kind) {
    case 'bearer':
      return { ...auth, token: boundToken(auth.token, context) };
    case 'oauth': {
      const { onRedirect } = auth;
      return onRedirect === undefined ? auth : { ...auth, onRedirect: (url) => onRedirect(url, context) };
    }
    case 'crossApp': {
      const { assertion, identityProvider } = auth;
      return {
        ...auth,
        ...(assertion === undefined ? {} : { assertion: (request) => assertion(request, context) }),
        ...(identityProvider === undefined
          ? {}
          : {
              identityProvider: {
                ...identityProvider,
                idToken: boundToken(identityProvider.idToken, context),
              },
            }),
      };
    }
    default:
      return auth;
  }
}

function boundToken(token: TokenSource, context: CredentialContext): TokenSource {
  return typeof token === 'function' ? () => token(context) : token;
}
