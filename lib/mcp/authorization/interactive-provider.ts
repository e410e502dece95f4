import { createHash, randomBytes } from 'node:crypto';
import type {
  OAuthClientInformationContext,
  OAuthClientMetadata,
  OAuthClientProvider,
  OAuthDiscoveryState,
  StoredOAuthClientInformation,
  StoredOAuthTokens,
} from '@modelcontextprotocol/client';
import type { OAuthOptions } from './options.ts';
import type { TokenStore } from './token-store.ts';

interface Kept {
  readonly clients: readonly StoredOAuthClientInformation[];
  readonly tokens: StoredOAuthTokens | undefined;
}

/** More authorization servers than this one server has never had; the oldest registration is forgotten. */
const MAX_CLIENTS = 8;

/**
 * What the SDK's flow remembers between its legs, for one server: registrations by issuer, tokens, the PKCE verifier
 * and what was discovered. A registration or a token never leaves for another issuer than the one it is of.
 */
export class InteractiveProvider implements OAuthClientProvider {
  readonly redirectUrl: string;
  readonly clientMetadataUrl?: string;
  readonly clientMetadata: OAuthClientMetadata;
  readonly #options: OAuthOptions & { readonly expectedIssuer?: string | undefined };
  readonly #store: TokenStore | undefined;
  readonly #key: string;
  readonly #clients = new Map<string, StoredOAuthClientInformation>();
  #issuer: string | undefined;
  #tokens: StoredOAuthTokens | undefined;
  #verifier = '';
  #discovery: OAuthDiscoveryState | undefined;
  #loading: Promise<void> | undefined;

  constructor(
    options: OAuthOptions & { readonly expectedIssuer?: string | undefined },
    serverUrl: string,
    store?: TokenStore,
  ) {
    this.#options = options;
    this.#store = store;
    this.#key = `oauth:${createHash('sha256')
      .update(`${serverUrl}\n${options.clientId ?? ''}`)
      .digest('hex')
      .slice(0, 32)}`;
    this.#issuer = options.expectedIssuer;
    this.redirectUrl = options.redirectUrl;
    if (options.clientMetadataUrl !== undefined) this.clientMetadataUrl = options.clientMetadataUrl;
    this.clientMetadata = {
      client_name: options.clientName ?? 'mcp-troupe',
      redirect_uris: [options.redirectUrl],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      ...(options.scope === undefined ? {} : { scope: options.scope }),
    };
  }

  state(): string {
    return randomBytes(24).toString('base64url');
  }

  async clientInformation(
    context?: OAuthClientInformationContext,
  ): Promise<StoredOAuthClientInformation | undefined> {
    await this.#load();
    const { clientId, clientSecret } = this.#options;
    const issuer = context?.issuer;
    if (clientId === undefined || issuer === undefined)
      return issuer === undefined ? undefined : this.#clients.get(issuer);
    // What the host has registered is of one issuer: the one it names, else the first that the server named.
    this.#issuer ??= issuer;
    return {
      client_id: clientId,
      ...(clientSecret === undefined ? {} : { client_secret: clientSecret }),
      issuer: this.#issuer,
    };
  }

  async saveClientInformation(
    client: StoredOAuthClientInformation,
    context?: OAuthClientInformationContext,
  ): Promise<void> {
    const issuer = context?.issuer ?? client.issuer;
    if (issuer === undefined) return;
    this.#clients.delete(issuer);
    this.#clients.set(issuer, client);
    for (const [oldest] of this.#clients) {
      if (this.#clients.size <= MAX_CLIENTS) break;
      this.#clients.delete(oldest);
    }
    await this.#save();
  }

  async tokens(): Promise<StoredOAuthTokens | undefined> {
    await this.#load();
    return this.#tokens;
  }

  async saveTokens(tokens: StoredOAuthTokens): Promise<void> {
    this.#tokens = tokens;
    await this.#save();
  }

  /** Taken over by whoever runs the flow. */
  redirectToAuthorization(): void {}

  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    return this.#verifier;
  }

  saveDiscoveryState(state: OAuthDiscoveryState): void {
    this.#discovery = state;
  }

  discoveryState(): OAuthDiscoveryState | undefined {
    return this.#discovery;
  }

  async invalidateCredentials(scope: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'): Promise<void> {
    if (scope === 'all' || scope === 'client') this.#clients.clear();
    if (scope === 'all' || scope === 'tokens') this.#tokens = undefined;
    if (scope === 'all' || scope === 'verifier') this.#verifier = '';
    if (scope === 'all' || scope === 'discovery') this.#discovery = undefined;
    if (scope !== 'verifier' && scope !== 'discovery') await this.#save();
  }

  /** Once; what could not be read is tried again, and never taken for empty: the next save would replace it. */
  #load(): Promise<void> {
    this.#loading ??= this.#read().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async #read(): Promise<void> {
    const text = await this.#store?.load(this.#key);
    if (text === undefined) return;
    const kept = JSON.parse(text) as Kept;
    for (const client of kept.clients)
      if (client.issuer !== undefined) this.#clients.set(client.issuer, client);
    this.#tokens = kept.tokens;
  }

  async #save(): Promise<void> {
    if (this.#store === undefined) return;
    const kept: Kept = { clients: [...this.#clients.values()], tokens: this.#tokens };
    await this.#store.save(this.#key, JSON.stringify(kept));
  }
}
