import type { IncomingHttpHeaders } from 'node:http';
import {
  auth,
  computeScopeUnion,
  extractWWWAuthenticateParams,
  isStrictScopeSuperset,
  validateAuthorizationResponseIssuer,
  type DpopSession,
  type FetchLike,
  type OAuthClientProvider,
  type OAuthTokens,
} from '@modelcontextprotocol/client';
import type { Clock } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { HttpChallenge, HttpCredentials, HttpTarget } from '../transports/http-headers.ts';
import { authFailure } from './auth-failure.ts';
import { bounded } from './bounded.ts';
import { secretsSent } from './secrets-sent.ts';

type Headers = Readonly<Record<string, string>>;

/** A person is asked to agree this often in a row without the server once accepting what came of it. */
const MAX_ROUNDS = 2;

export interface OAuthCredentialsOptions {
  readonly server: string;
  readonly serverUrl: URL;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Called anew by each round, with a signal that ends its requests. */
  readonly fetchWith: (signal: AbortSignal, watch: FetchWatch) => FetchLike;
  readonly provider: (fetchFn: FetchLike) => OAuthClientProvider;
  readonly onRedirect?: ((authorizationUrl: URL) => void | Promise<void>) | undefined;
  /** Told each token and code of the flow as soon as it is known, before it is used. */
  readonly onSecret?: ((secret: string) => void) | undefined;
  /** The text without secrets. */
  readonly clean?: ((text: string) => string) | undefined;
}

/** What a round saw on the network, in addition to what the flow makes of it. */
export interface FetchWatch {
  /** The first request that the guard refused or that reached nobody. */
  failure: TroupeError | TypeError | undefined;
  /** A token endpoint that is out of order: whatever the flow makes of that, it says nothing about our credentials. */
  outOfOrder: TypeError | undefined;
}

/** A person is being asked. */
interface Pending {
  readonly url: URL;
  readonly state: string | undefined;
  readonly scope: string | undefined;
}

interface Need {
  readonly scope: string | undefined;
  readonly resourceMetadataUrl: URL | undefined;
  /** A wider scope than a refresh can give. */
  readonly wider: boolean;
}

/**
 * Tokens of an authorization server, for all connections to one URL. There is one round with it at a time, which
 * all who were refused wait for; in between, a request costs a look at a field. Where a person must agree, those who wait
 * get `auth_required` with `data.authorizationUrl`, and `finish` goes on when the answer is there.
 */
export class OAuthCredentials implements HttpCredentials {
  readonly #options: OAuthCredentialsOptions;
  readonly #provider: OAuthClientProvider;
  #round: { signal: AbortSignal; watch: FetchWatch } | undefined;
  #running: Promise<void> | undefined;
  #pending: Pending | undefined;
  #tokens: OAuthTokens | undefined;
  #headers: Headers | undefined;
  #dpop: DpopSession | undefined;
  #ready: Promise<void> | undefined;
  #loaded = false;
  /** Asked for by step-ups so far. */
  #scope: string | undefined;
  #rounds = 0;
  /** The tokens are of this process, and … */
  #fresh = false;
  /** … the server has taken them. */
  #accepted = false;

  constructor(options: OAuthCredentialsOptions) {
    this.#options = options;
    const own = options.provider((url, init) => this.#fetch(url, init));
    this.#provider = redirectingTo(own, (url) => this.#redirect(url));
  }

  headers(target: HttpTarget): Headers | undefined | Promise<Headers | undefined> {
    if (!this.#loaded) return this.#prepare().then(() => this.headers(target));
    return this.#dpop === undefined ? this.#headers : this.#signed(target, this.#dpop);
  }

  answered(status: number, headers: IncomingHttpHeaders): boolean {
    if (status < 300) this.#accepted = true;
    const nonce = headers['dpop-nonce'];
    if (this.#dpop === undefined || typeof nonce !== 'string') return false;
    const before = this.#dpop.nonceFor(this.#options.serverUrl);
    if (nonce !== before) this.#dpop.rememberNonce(this.#options.serverUrl, nonce);
    return (
      status === 401 &&
      nonce !== before &&
      /\bdpop\b[^]*use_dpop_nonce/i.test(headers['www-authenticate'] ?? '')
    );
  }

  async refused(challenge: HttpChallenge): Promise<boolean> {
    const { status, wwwAuthenticate, used } = challenge;
    const said = parametersOf(wwwAuthenticate);
    if (status === 403 && said.error !== 'insufficient_scope') return false;
    if (
      this.#headers !== undefined &&
      used !== undefined &&
      used['authorization'] !== this.#headers['authorization']
    )
      return true;
    const need = status === 403 ? this.#stepUp(said) : this.#renewal(said);
    if (this.#pending !== undefined && !isStrictScopeSuperset(need.scope, this.#pending.scope))
      throw this.#waiting(this.#pending);
    this.#running ??= this.#obtain(need).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
    return true;
  }

  /** Forgets that a person is being asked: the next refusal asks anew. */
  restart(): void {
    this.#pending = undefined;
    this.#rounds = 0;
  }

  /** Whether the answer with this state is for us. */
  awaits(state: string | undefined): boolean {
    return this.#pending !== undefined && (state === undefined || state === this.#pending.state);
  }

  /** Redeems what the authorization server has sent the browser back with. Without a word of `iss` and `state` it checks nothing less. */
  async finish(params: URLSearchParams, bare: boolean): Promise<void> {
    const { server } = this.#options;
    const pending = this.#pending;
    if (pending === undefined)
      throw new TroupeError('invalid_request', 'no authorization is under way', { server });
    const state = params.get('state') ?? undefined;
    if (pending.state !== undefined && state !== pending.state && !(bare && state === undefined)) {
      throw new TroupeError('denied', 'the answer is not to the question that was asked: its state differs', {
        server,
        data: { reason: 'state' },
      });
    }
    const iss = params.get('iss') ?? undefined;
    const code = params.get('code');
    if (code === null) throw await this.#refusedByServer(params, iss);
    this.#running ??= this.#redeem(code, iss).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #redeem(code: string, iss: string | undefined): Promise<void> {
    // One code, one verifier: whatever comes of it, this question is closed.
    this.#pending = undefined;
    await this.#talk({ authorizationCode: code, ...(iss === undefined ? {} : { iss }) });
    await this.#adopt(true);
  }

  async #obtain(need: Need): Promise<void> {
    const { server } = this.#options;
    // The server may have moved to another authorization server since.
    await this.#provider.invalidateCredentials?.('discovery');
    const result = await this.#talk({
      ...(need.scope === undefined ? {} : { scope: need.scope }),
      ...(need.resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl: need.resourceMetadataUrl }),
      forceReauthorization: need.wider,
    });
    if (result === 'REDIRECT') {
      if (this.#pending === undefined)
        throw new TroupeError('internal', 'a redirect without an address', { server });
      throw this.#waiting(this.#pending);
    }
    await this.#adopt(true);
  }

  async #talk(leg: Partial<Parameters<typeof auth>[1]>): Promise<'AUTHORIZED' | 'REDIRECT'> {
    const { server, serverUrl, clock, timeoutMs } = this.#options;
    const watch: FetchWatch = { failure: undefined, outOfOrder: undefined };
    try {
      return await bounded(
        async (signal) => {
          this.#round = { signal, watch };
          const result = await auth(this.#provider, {
            serverUrl,
            fetchFn: (url, init) => this.#fetch(url, init),
            ...leg,
          });
          // The flow makes do without a document it could not get; what the guard refused is not made do without.
          if (watch.failure !== undefined && !(watch.failure instanceof TypeError)) throw watch.failure;
          return result;
        },
        { clock, ms: timeoutMs, server, what: 'the authorization' },
      );
    } catch (error) {
      this.#pending = undefined;
      // What the flow stumbled over later is not what went wrong.
      const first = watch.failure instanceof TypeError ? error : (watch.failure ?? error);
      throw authFailure(first === error ? (watch.outOfOrder ?? error) : first, server);
    } finally {
      this.#round = undefined;
    }
  }

  async #fetch(url: string | URL, init?: RequestInit): Promise<Response> {
    const { server, fetchWith, clean } = this.#options;
    const round = this.#round;
    if (round === undefined) throw new TroupeError('stopped', 'the authorization is over', { server });
    for (const secret of secretsSent(init)) this.#options.onSecret?.(secret);
    const response = await fetchWith(round.signal, round.watch)(url, init);
    if (response.status < 400 || clean === undefined) return response;
    // The flow prints what a refusal says, and a refusal may repeat what it was sent.
    const { status, statusText, headers } = response;
    return new Response(clean(await response.text()), { status, statusText, headers });
  }

  async #redirect(url: URL): Promise<void> {
    const { server, onRedirect } = this.#options;
    // Nobody was reached: that is no reason to send a person through a browser.
    const failure = this.#round?.watch.failure;
    if (failure !== undefined) throw failure;
    const loopback = /^(?:localhost|(?:.*\.)localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) {
      throw new TroupeError(
        'denied',
        `the authorization endpoint ${url.protocol}//${url.host} is not https`,
        { server, data: { reason: 'insecure_url' } },
      );
    }
    if (this.#accepted) this.#rounds = 0;
    this.#rounds += 1;
    if (this.#rounds > MAX_ROUNDS) {
      throw new TroupeError(
        'auth_required',
        `the server still refuses after ${MAX_ROUNDS} authorizations; authorize() without an answer begins anew`,
        {
          server,
          data: { reason: 'rounds', limit: MAX_ROUNDS },
        },
      );
    }
    this.#pending = {
      url,
      state: url.searchParams.get('state') ?? undefined,
      scope: url.searchParams.get('scope') ?? undefined,
    };
    await onRedirect?.(new URL(url));
  }

  #waiting({ url, state, scope }: Pending): TroupeError {
    return new TroupeError('auth_required', `someone must agree at ${url.origin}${url.pathname}`, {
      server: this.#options.server,
      data: {
        reason: 'interaction',
        authorizationUrl: url.href,
        ...(state === undefined ? {} : { state }),
        ...(scope === undefined ? {} : { scope }),
      },
    });
  }

  #renewal(said: Challenge): Need {
    return {
      scope: computeScopeUnion(this.#scope, said.scope),
      resourceMetadataUrl: said.resourceMetadataUrl,
      // Tokens that were refused at once: refreshing them again would bring the same.
      wider: this.#fresh && !this.#accepted,
    };
  }

  #stepUp(said: Challenge): Need {
    const scope = computeScopeUnion(this.#scope, this.#tokens?.scope, said.scope);
    if (this.#running === undefined) {
      if (scope === undefined || (this.#scope !== undefined && !isStrictScopeSuperset(scope, this.#scope))) {
        throw new TroupeError(
          'denied',
          `the server wants the scope ${said.scope ?? '(none)'}, which was asked for already`,
          {
            server: this.#options.server,
            data: {
              reason: 'insufficient_scope',
              ...(said.scope === undefined ? {} : { scope: said.scope }),
            },
          },
        );
      }
      this.#scope = scope;
    }
    return {
      scope,
      resourceMetadataUrl: said.resourceMetadataUrl,
      wider: isStrictScopeSuperset(scope, this.#tokens?.scope),
    };
  }

  async #refusedByServer(params: URLSearchParams, iss: string | undefined): Promise<TroupeError> {
    const { server } = this.#options;
    const metadata = (await this.#provider.discoveryState?.())?.authorizationServerMetadata;
    try {
      validateAuthorizationResponseIssuer({
        iss,
        expectedIssuer: metadata?.issuer,
        issParameterSupported: metadata?.authorization_response_iss_parameter_supported === true,
      });
    } catch (error) {
      return authFailure(error, server);
    }
    this.#pending = undefined;
    const error = params.get('error');
    if (error === null)
      return new TroupeError('invalid_request', 'the answer holds neither code nor error', { server });
    return new TroupeError(
      'auth_required',
      `the authorization was refused: ${params.get('error_description') ?? error}`,
      {
        server,
        data: { reason: 'refused', error },
      },
    );
  }

  #prepare(): Promise<void> {
    this.#ready ??= bounded(() => this.#adopt(false), {
      clock: this.#options.clock,
      ms: this.#options.timeoutMs,
      server: this.#options.server,
      what: 'reading the tokens',
    }).catch((error: unknown) => {
      this.#ready = undefined;
      throw authFailure(error, this.#options.server);
    });
    return this.#ready;
  }

  /** Takes over what the provider holds. */
  async #adopt(fresh: boolean): Promise<void> {
    const tokens = await this.#provider.tokens();
    for (const token of [tokens?.access_token, tokens?.refresh_token, tokens?.id_token])
      if (token !== undefined) this.#options.onSecret?.(token);
    const bound = tokens?.token_type?.toLowerCase() === 'dpop';
    this.#dpop = bound ? await this.#provider.dpop?.() : undefined;
    this.#fresh = fresh;
    this.#accepted = false;
    this.#tokens = tokens;
    this.#headers =
      tokens === undefined
        ? undefined
        : Object.freeze({ authorization: `${bound ? 'DPoP' : 'Bearer'} ${tokens.access_token}` });
    this.#loaded = true;
  }

  async #signed({ method, url }: HttpTarget, session: DpopSession): Promise<Headers | undefined> {
    const headers = this.#headers;
    const token = this.#tokens?.access_token;
    if (headers === undefined || token === undefined) return undefined;
    const dpop = await session.buildProof({ htm: method, htu: url, accessToken: token });
    return { ...headers, dpop };
  }
}

type Challenge = ReturnType<typeof extractWWWAuthenticateParams>;

function parametersOf(wwwAuthenticate: string | undefined): Challenge {
  if (wwwAuthenticate === undefined) return {};
  return extractWWWAuthenticateParams(
    new Response(null, { headers: { 'www-authenticate': wwwAuthenticate } }),
  );
}

/** The provider with its redirect taken over; its own is told too. A proxy, since its methods may use private fields. */
function redirectingTo(
  provider: OAuthClientProvider,
  redirect: (url: URL) => Promise<void>,
): OAuthClientProvider {
  return new Proxy(provider, {
    get(target, key) {
      if (key === 'redirectToAuthorization') {
        return async (url: URL): Promise<void> => {
          await redirect(url);
          await target.redirectToAuthorization(url);
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
