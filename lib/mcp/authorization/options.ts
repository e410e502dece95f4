/**
 * A token, or where to get one. A function is asked once, and again when the server has refused what it gave. Whose token
 * it is has been settled by whoever made the credentials: callbacks of the host that ask for it are bound by then.
 */
export type TokenSource =
  | string
  | ((...context: never[]) => string | undefined | Promise<string | undefined>);

export interface BearerOptions {
  readonly kind: 'bearer';
  readonly token: TokenSource;
}

/** Authorization code with PKCE: a person agrees, in a browser that the host opens. */
export interface OAuthOptions {
  readonly kind: 'oauth';
  readonly redirectUrl: string;
  /** Absent: by `clientMetadataUrl` where the authorization server takes it, else registered dynamically. */
  readonly clientId?: string | undefined;
  readonly clientSecret?: string | undefined;
  readonly clientMetadataUrl?: string | undefined;
  readonly clientName?: string | undefined;
  readonly scope?: string | undefined;
  /** Beside the event `auth.required`. */
  readonly onRedirect?: ((authorizationUrl: URL, ...context: never[]) => void | Promise<void>) | undefined;
}

export interface ClientCredentialsOptions {
  readonly kind: 'clientCredentials';
  readonly clientId: string;
  readonly clientSecret: string;
  readonly clientName?: string | undefined;
  readonly scope?: string | undefined;
}

export interface PrivateKeyJwtOptions {
  readonly kind: 'privateKeyJwt';
  readonly clientId: string;
  /** PKCS#8 PEM, its bytes, or a JWK. */
  readonly privateKey: string | Uint8Array | Readonly<Record<string, unknown>>;
  readonly algorithm: string;
  readonly clientName?: string | undefined;
  readonly scope?: string | undefined;
}

/** What the identity provider is asked: a grant for this authorization server and resource. */
export interface GrantRequest {
  readonly authorizationServerUrl: string;
  readonly resourceUrl: string;
  readonly scope?: string | undefined;
}

/** Cross-App Access (enterprise-managed authorization): the company's identity provider vouches for the user. */
export interface CrossAppOptions {
  readonly kind: 'crossApp';
  readonly clientId: string;
  readonly clientSecret: string;
  readonly clientName?: string | undefined;
  /** Gives the grant itself; in place of `identityProvider`. */
  readonly assertion?: ((request: GrantRequest, ...context: never[]) => string | Promise<string>) | undefined;
  readonly identityProvider?: IdentityProviderOptions | undefined;
}

export interface IdentityProviderOptions {
  /** Its token endpoint, or its issuer, whose metadata names it. */
  readonly tokenEndpoint?: string | undefined;
  readonly issuer?: string | undefined;
  readonly clientId: string;
  readonly clientSecret?: string | undefined;
  /** Of the user who is signed in. */
  readonly idToken: TokenSource;
}

/** An `OAuthClientProvider` or `AuthProvider` of the SDK, written by the host. */
export interface ProviderOptions {
  readonly kind: 'provider';
  readonly provider: object;
}

interface FlowOptions {
  /** The only authorization server that may get what we have. Absent: the first one that the server names. */
  readonly expectedIssuer?: string | undefined;
  /** Tokens are bound to a key of ours (RFC 9449). */
  readonly dpop?: boolean | undefined;
}

export type CredentialOptions = (
  | BearerOptions
  | ((OAuthOptions | ClientCredentialsOptions | PrivateKeyJwtOptions | CrossAppOptions) & FlowOptions)
  | ProviderOptions
) & {
  /** For one round with the authorization server or one call of the host, milliseconds. */
  readonly timeoutMs: number;
};
