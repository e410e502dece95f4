import type {
  AuthConfig,
  CredentialScope,
  CrossAppConfig,
  IdentityProviderConfig,
  OAuthConfig,
  TokenSource,
} from './config.ts';
import type { NumberOption } from './defaults.ts';
import { Fields, below, invalid, isObject, kindOf, type At, type Unknowns } from './fields.ts';
import { expanded, type Reading } from './reading.ts';
import { isLoopback } from './remote.ts';

/** Cursor writes OAuth settings in capitals; the keys mean the same. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['CLIENT_ID', 'clientId'],
  ['CLIENT_SECRET', 'clientSecret'],
  ['token', 'bearer'],
]);

const WAYS = ['bearer', 'oauth', 'clientCredentials', 'privateKeyJwt', 'crossApp'] as const;

/** A round is a handful of small requests; the token of a callback may be a login. */
const TIMEOUT_MS = 30_000;
const TIMEOUT: NumberOption = {
  value: TIMEOUT_MS,
  min: 1,
  max: 600_000,
  whole: true,
  unit: 'ms',
  about: 'one round of authorization',
};
/** Long enough for a person who is asked to agree in a browser. */
const IDLE_MS = 900_000;
const IDLE: NumberOption = {
  value: IDLE_MS,
  min: 1,
  max: 86_400_000,
  whole: true,
  unit: 'ms',
  about: 'without a request of a principal',
};
const SCOPES: ReadonlySet<string> = new Set<CredentialScope>(['server', 'tenant', 'principal']);
const PORT: NumberOption = {
  value: 0,
  min: 1,
  max: 65_535,
  whole: true,
  unit: 'port',
  about: 'of the redirect',
};

/** A loopback address may be sent any port along (RFC 8252 §7.3), so hosts without a listener can use it too. */
const REDIRECT_URL = 'http://localhost/callback';

/** `auth`, or `oauth` of Claude Code and VS Code. Variables in its texts are expanded. */
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
  const prototype: unknown = Object.getPrototypeOf(written);
  if ((prototype !== Object.prototype && prototype !== null) || isProvider(written))
    return provider(written, at);
  const plain = expandedDeep(renamed(written, at), at, reading, 0) as Unknowns;
  const given = new Fields(plain, at);
  const ways = WAYS.filter((way) => given.get(way) !== undefined);
  const [way, other] = ways;
  if (other !== undefined) throw invalid(given.place(other), `stands beside ${way}`, 'keep one of the two');
  const dpop = given.boolean('dpop') ?? false;
  const timeoutMs = given.number('timeoutMs', TIMEOUT) ?? TIMEOUT_MS;
  const idleMs = given.number('idleMs', IDLE) ?? IDLE_MS;
  const per = scopeGiven(given);
  if (key === 'oauth' || way === undefined) {
    return Object.freeze({ ...readOAuth(given), dpop, timeoutMs, per: per ?? 'principal', idleMs });
  }
  const result = readWay(way, given, dpop);
  given.nothingElse();
  return Object.freeze({ ...result, timeoutMs, per: per ?? usualScope(result), idleMs });
}

function scopeGiven(given: Fields): CredentialScope | undefined {
  const per = given.text('per');
  if (per === undefined || SCOPES.has(per)) return per as CredentialScope | undefined;
  throw invalid(given.place('per'), `is "${per}"`, 'give server, tenant or principal');
}

/** What belongs to a person is nobody else's unless somebody says so; a function that takes no parameter knows no person. */
function usualScope(auth: WithoutTimeout): CredentialScope {
  if (auth.kind === 'oauth') return 'principal';
  const source =
    auth.kind === 'bearer'
      ? auth.token
      : auth.kind === 'crossApp'
        ? auth.identityProvider?.idToken
        : undefined;
  const asserts = auth.kind === 'crossApp' && (auth.assertion?.length ?? 0) > 1;
  return asserts || (typeof source === 'function' && source.length > 0) ? 'principal' : 'server';
}

function readWay(way: (typeof WAYS)[number], given: Fields, dpop: boolean): WithoutTimeout {
  if (way === 'bearer') {
    if (dpop)
      throw invalid(
        given.place('dpop'),
        'stands beside bearer',
        'remove it: a token of yours is bound to no key of ours',
      );
    return { kind: 'bearer', token: tokenSource(given, 'bearer') };
  }
  const group = given.fields(way) as Fields;
  if (way === 'oauth') return { ...readOAuth(group), dpop };
  const clientId = needed(group, 'clientId');
  const common = { clientId, ...optional(group, 'clientName'), ...optional(group, 'expectedIssuer'), dpop };
  const result = ((): WithoutTimeout => {
    switch (way) {
      case 'clientCredentials':
        return { kind: way, ...common, clientSecret: needed(group, 'clientSecret'), ...scopeOf(group) };
      case 'privateKeyJwt':
        return {
          kind: way,
          ...common,
          privateKey: privateKey(group),
          algorithm: needed(group, 'algorithm'),
          ...scopeOf(group),
        };
      case 'crossApp':
        return { kind: way, ...common, clientSecret: needed(group, 'clientSecret'), ...wayToGrant(group) };
    }
  })();
  group.nothingElse();
  return result;
}

/** Keys that other hosts have here and we do not are left alone. */
function readOAuth(
  group: Fields,
): { readonly kind: 'oauth' } & OAuthConfig & { readonly expectedIssuer?: string } {
  const onRedirect = group.callable('onRedirect') as OAuthConfig['onRedirect'];
  const clientSecret = optional(group, 'clientSecret');
  const clientId = optional(group, 'clientId');
  if (clientSecret.clientSecret !== undefined && clientId.clientId === undefined) {
    throw invalid(group.place('clientId'), 'is missing', 'give it together with clientSecret');
  }
  return {
    kind: 'oauth',
    redirectUrl: redirectUrl(group),
    ...clientId,
    ...clientSecret,
    ...metadataUrl(group),
    ...optional(group, 'clientName'),
    ...optional(group, 'expectedIssuer'),
    ...scopeOf(group),
    ...(onRedirect === undefined ? {} : { onRedirect }),
  };
}

function redirectUrl(group: Fields): string {
  const port = group.number('callbackPort', PORT);
  const text =
    group.text('redirectUrl') ?? (port === undefined ? REDIRECT_URL : `http://localhost:${port}/callback`);
  const at = group.place('redirectUrl');
  if (!URL.canParse(text)) throw invalid(at, 'is no address', `give one such as ${REDIRECT_URL}`);
  const url = new URL(text);
  // A scheme of its own belongs to an app on the same device (RFC 8252 §7.1).
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw invalid(
      at,
      'is plain http beyond this machine',
      'use https, a loopback address or a scheme of the app',
    );
  }
  if (url.protocol === 'javascript:' || url.protocol === 'data:')
    throw invalid(at, `starts with ${url.protocol}`, `give one such as ${REDIRECT_URL}`);
  return text;
}

function metadataUrl(group: Fields): { readonly clientMetadataUrl?: string } {
  const text = group.text('clientMetadataUrl');
  if (text === undefined) return {};
  if (URL.canParse(text) && new URL(text).protocol === 'https:' && new URL(text).pathname !== '/')
    return { clientMetadataUrl: text };
  throw invalid(
    group.place('clientMetadataUrl'),
    'is no https address of a document',
    'give one such as https://app.example/client.json',
  );
}

function wayToGrant(group: Fields): Pick<CrossAppConfig, 'assertion' | 'identityProvider'> {
  const assertion = group.callable('assertion') as CrossAppConfig['assertion'];
  const provided = group.fields('identityProvider');
  if (assertion !== undefined && provided !== undefined)
    throw invalid(group.place('identityProvider'), 'stands beside assertion', 'keep one of the two');
  if (assertion !== undefined) return { assertion };
  if (provided === undefined)
    throw invalid(group.place('identityProvider'), 'is missing', 'give it, or assertion');
  const identityProvider: IdentityProviderConfig = {
    clientId: needed(provided, 'clientId'),
    ...optional(provided, 'clientSecret'),
    ...optional(provided, 'tokenEndpoint'),
    ...optional(provided, 'issuer'),
    idToken: tokenSource(provided, 'idToken'),
  };
  const { tokenEndpoint, issuer } = identityProvider;
  if ((tokenEndpoint === undefined) === (issuer === undefined)) {
    throw invalid(
      provided.place('tokenEndpoint'),
      issuer === undefined ? 'is missing' : 'stands beside issuer',
      'give one of tokenEndpoint and issuer',
    );
  }
  for (const name of ['tokenEndpoint', 'issuer'] as const) {
    const text = identityProvider[name];
    if (text !== undefined && !URL.canParse(text))
      throw invalid(provided.place(name), 'is no address', 'give one such as https://idp.example/token');
  }
  provided.nothingElse();
  return { identityProvider: Object.freeze(identityProvider) };
}

function tokenSource(group: Fields, key: string): TokenSource {
  const value = group.get(key);
  if (typeof value === 'function') return value as TokenSource;
  const token = group.text(key);
  if (token === undefined)
    throw invalid(group.place(key), 'is missing', 'give a token, or a function that gets one');
  if (/^[\u0021-\u007e]+$/.test(token)) return token;
  throw invalid(group.place(key), 'contains characters that a header cannot carry', 'give the token alone');
}

function privateKey(group: Fields): string | Uint8Array | Readonly<Record<string, unknown>> {
  const value = group.get('privateKey');
  if (typeof value === 'string' && value !== '') return value;
  if (value instanceof Uint8Array || isObject(value)) return value;
  throw invalid(
    group.place('privateKey'),
    value === undefined ? 'is missing' : `is ${kindOf(value)}`,
    'give PKCS#8 PEM text or a JWK',
  );
}

function needed(group: Fields, key: string): string {
  const text = group.text(key);
  if (text !== undefined) return text;
  throw invalid(group.place(key), 'is missing', 'give a text');
}

function optional<K extends string>(group: Fields, key: K): { readonly [P in K]?: string } {
  const text = group.text(key);
  return text === undefined ? {} : ({ [key]: text } as { readonly [P in K]?: string });
}

function scopeOf(group: Fields): { readonly scope?: string } {
  const scopes = group.texts('scopes');
  const scope = group.text('scope') ?? scopes?.join(' ');
  return scope === undefined || scope === '' ? {} : { scope };
}

/** An object with behaviour stays the object it is. */
function provider(written: object, at: At): AuthConfig {
  if (isProvider(written))
    return Object.freeze({
      kind: 'provider',
      provider: written,
      timeoutMs: TIMEOUT_MS,
      per: 'server',
      idleMs: IDLE_MS,
    });
  throw invalid(
    at,
    'is no provider of the MCP SDK',
    'give an OAuthClientProvider, an AuthProvider or plain settings',
  );
}

function isProvider(written: object): boolean {
  const object = written as Record<string, unknown>;
  const has = (name: string): boolean => typeof object[name] === 'function';
  return (has('tokens') && has('clientInformation')) || has('token');
}

function renamed(written: Unknowns, at: At): Unknowns {
  const result = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(written)) {
    const known = ALIASES.get(name) ?? name;
    if (known !== name && Object.hasOwn(written, known)) {
      throw invalid(below(at, name), `stands beside ${known}`, 'keep one of the two');
    }
    result[known] = written[name];
  }
  return result;
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

type WithoutTimeout = AuthConfig extends infer A
  ? A extends AuthConfig
    ? Omit<A, 'timeoutMs' | 'per' | 'idleMs'>
    : never
  : never;
