import { DpopSession, type FetchLike, type OAuthClientProvider } from '@modelcontextprotocol/client';
import type { Clock } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { Limits } from '../../core/limits.ts';
import type { HttpCredentials } from '../transports/http-headers.ts';
import { createGuardedFetch, type GuardedFetch, type TlsOptions } from '../transports/http-guard.ts';
import type { Answer } from './answer.ts';
import { BearerCredentials } from './bearer.ts';
import { InteractiveProvider } from './interactive-provider.ts';
import { createMachineProvider } from './machine-provider.ts';
import { OAuthCredentials, type FetchWatch } from './oauth.ts';
import type { CredentialOptions } from './options.ts';
import type { TokenStore } from './token-store.ts';

export interface CredentialsOptions {
  /** Absent: none, until a host gives a token. */
  readonly auth: CredentialOptions | undefined;
  readonly server: string;
  readonly url: URL;
  /** Of the configuration: sent to the origin of `url` alone. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly tls?: TlsOptions | undefined;
  readonly allowInsecure?: boolean | undefined;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly store?: TokenStore | undefined;
  /** Told each secret that is obtained at run time, before it is used: whoever writes logs must know it. */
  readonly onSecret?: ((secret: string) => void) | undefined;
  /** The text without any of our secrets. */
  readonly clean?: ((text: string) => string) | undefined;
}

/** Credentials towards one URL, shared by all connections to it; they outlive sessions. */
export interface Credentials {
  /** For a channel that is about to be made; undefined where there is nothing to send. */
  http(): HttpCredentials | undefined;
  /** Whether an answer with this `state` belongs here. */
  awaits(state: string | undefined): boolean;
  /** Takes what the host brings; rejects with `denied` where issuer or state are not those that were asked. */
  answer(answer: Answer): Promise<void>;
  /** Begins anew: an authorization that waits for a person is forgotten. */
  restart(): void;
  close(): Promise<void>;
}

/** Of the token callback where nothing is configured; nobody calls it then. */
const UNUSED_MS = 1;

export function createCredentials(options: CredentialsOptions): Credentials {
  const { auth, clock, server, onSecret } = options;
  if (auth === undefined || auth.kind === 'bearer') {
    const token = auth?.token;
    return bearer(
      new BearerCredentials({ token, clock, server, timeoutMs: auth?.timeoutMs ?? UNUSED_MS, onSecret }),
      server,
      onSecret,
    );
  }
  if (auth.kind === 'provider' && !isClientProvider(auth.provider)) {
    const provider = auth.provider as { token(): Promise<string | undefined> };
    return bearer(
      new BearerCredentials({
        token: () => provider.token(),
        clock,
        server,
        timeoutMs: auth.timeoutMs,
        onSecret,
      }),
      server,
      onSecret,
    );
  }
  return oauth(options, auth);
}

function bearer(
  credentials: BearerCredentials,
  server: string,
  onSecret: ((secret: string) => void) | undefined,
): Credentials {
  return {
    http: () => (credentials.empty ? undefined : credentials),
    awaits: () => true,
    answer(read) {
      const code = read.kind === 'token' ? read.token : read.params.get('code');
      if (code !== null) onSecret?.(code);
      if (read.kind !== 'token')
        return Promise.reject(
          new TroupeError('invalid_request', 'this server is configured with a token; give { token }', {
            server,
          }),
        );
      credentials.give(read.token);
      return Promise.resolve();
    },
    restart: () => {},
    close: () => Promise.resolve(),
  };
}

function oauth(
  options: CredentialsOptions,
  auth: Exclude<CredentialOptions, { readonly kind: 'bearer' }>,
): Credentials {
  const { server, url, limits, clock } = options;
  const guarded = createGuardedFetch({
    server,
    limits,
    origin: url.origin,
    headers: options.headers,
    tls: options.tls,
    allowInsecure: options.allowInsecure,
    allowPrivate: chosenHosts(auth),
  });
  const credentials = new OAuthCredentials({
    server,
    serverUrl: url,
    clock,
    timeoutMs: auth.timeoutMs,
    fetchWith: (signal, watch) => watched(guarded.fetch, signal, watch),
    provider: (fetchFn) => providerOf(auth, fetchFn, options),
    onRedirect: auth.kind === 'oauth' ? auth.onRedirect : undefined,
    onSecret: options.onSecret,
    clean: options.clean,
  });
  return {
    http: () => credentials,
    awaits: (state) => credentials.awaits(state),
    async answer(read) {
      const code = read.kind === 'token' ? read.token : read.params.get('code');
      if (code !== null) options.onSecret?.(code);
      if (read.kind === 'token')
        throw new TroupeError(
          'invalid_request',
          'this server gets its tokens from an authorization server; give { url } or { code }',
          { server },
        );
      await credentials.finish(read.params, read.bare);
    },
    restart: () => credentials.restart(),
    close: () => guarded.close(),
  };
}

function providerOf(
  auth: Exclude<CredentialOptions, { readonly kind: 'bearer' }>,
  fetchFn: FetchLike,
  { server, url, store }: CredentialsOptions,
): OAuthClientProvider {
  if (auth.kind === 'provider') return auth.provider as OAuthClientProvider;
  const provider: OAuthClientProvider =
    auth.kind === 'oauth'
      ? new InteractiveProvider(auth, url.href, auth.dpop === true ? undefined : store)
      : createMachineProvider(auth, fetchFn, server);
  if (auth.dpop === true) {
    // One key as long as the engine lives: tokens are bound to it, so they are not stored.
    let session: Promise<DpopSession> | undefined;
    provider.dpop = () => (session ??= DpopSession.create());
  }
  return provider;
}

function isClientProvider(provider: object): provider is OAuthClientProvider {
  const { tokens, clientInformation } = provider as Partial<OAuthClientProvider>;
  return typeof tokens === 'function' && typeof clientInformation === 'function';
}

/** Hosts that the configuration itself names, and which may therefore be private. */
function chosenHosts(auth: CredentialOptions): (host: string) => boolean {
  const named: (string | undefined)[] = [];
  if (auth.kind === 'crossApp')
    named.push(auth.identityProvider?.tokenEndpoint, auth.identityProvider?.issuer);
  if (auth.kind !== 'bearer' && auth.kind !== 'provider') named.push(auth.expectedIssuer);
  const hosts = new Set(
    named.flatMap((text) =>
      text !== undefined && URL.canParse(text) ? [new URL(text).hostname.replace(/^\[|\]$/g, '')] : [],
    ),
  );
  return (host) => hosts.has(host);
}

function watched(fetchFn: GuardedFetch, signal: AbortSignal, watch: FetchWatch): FetchLike {
  return async (url, init) => {
    try {
      const response = await fetchFn(url, { ...init, signal }, (error) => {
        watch.failure ??= error;
      });
      if (response.status >= 500 && init?.method === 'POST') {
        watch.outOfOrder ??= new TypeError(`${new URL(url).origin} answered HTTP ${response.status}`);
        watch.failure ??= watch.outOfOrder;
      }
      return response;
    } catch (error) {
      if (error instanceof TroupeError || error instanceof TypeError) watch.failure ??= error;
      throw error;
    }
  };
}
