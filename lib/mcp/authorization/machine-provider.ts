import {
  ClientCredentialsProvider,
  CrossAppAccessProvider,
  PrivateKeyJwtProvider,
  discoverAndRequestJwtAuthGrant,
  requestJwtAuthorizationGrant,
  type FetchLike,
  type OAuthClientInformationContext,
  type OAuthClientProvider,
  type StoredOAuthClientInformation,
} from '@modelcontextprotocol/client';
import { TroupeError } from '../../core/errors.ts';
import type {
  ClientCredentialsOptions,
  CrossAppOptions,
  GrantRequest,
  IdentityProviderOptions,
  PrivateKeyJwtOptions,
} from './options.ts';

type MachineOptions = (ClientCredentialsOptions | PrivateKeyJwtOptions | CrossAppOptions) & {
  readonly expectedIssuer?: string | undefined;
};

/** Stands for "the first one that the server names"; no issuer is written like this. */
const FIRST = 'urn:first-named-issuer';

/** The SDK's provider for a grant in which nobody is asked. What it sends goes to one issuer only. */
export function createMachineProvider(
  options: MachineOptions,
  fetchFn: FetchLike,
  server: string,
): OAuthClientProvider {
  const issuer = options.expectedIssuer;
  const provider = withFetch(options, issuer ?? FIRST, fetchFn, server);
  return issuer === undefined ? boundToFirst(provider) : provider;
}

function withFetch(
  options: MachineOptions,
  expectedIssuer: string,
  fetchFn: FetchLike,
  server: string,
): OAuthClientProvider {
  const { clientId } = options;
  const named = options.clientName === undefined ? {} : { clientName: options.clientName };
  switch (options.kind) {
    case 'clientCredentials':
      return new ClientCredentialsProvider({
        clientId,
        clientSecret: options.clientSecret,
        expectedIssuer,
        ...named,
        ...scopeOf(options),
      });
    case 'privateKeyJwt': {
      const { algorithm, privateKey } = options;
      return new PrivateKeyJwtProvider({
        clientId,
        privateKey,
        algorithm,
        expectedIssuer,
        ...named,
        ...scopeOf(options),
      });
    }
    case 'crossApp': {
      const { clientSecret, assertion, identityProvider } = options;
      const ask = (request: GrantRequest): string | Promise<string> => {
        if (assertion !== undefined) return assertion(request);
        if (identityProvider !== undefined) return grantOf(identityProvider, request, fetchFn, server);
        throw new TroupeError('config_invalid', 'auth.crossApp has neither assertion nor identityProvider', {
          server,
        });
      };
      return new CrossAppAccessProvider({
        clientId,
        clientSecret,
        assertion: ask,
        expectedIssuer,
        fetchFn,
        ...named,
      });
    }
  }
}

function scopeOf(options: { readonly scope?: string | undefined }): { scope?: string } {
  return options.scope === undefined ? {} : { scope: options.scope };
}

/** A server may change its mind about its authorization server; our secret does not follow it. */
function boundToFirst(provider: OAuthClientProvider): OAuthClientProvider {
  const client = provider.clientInformation() as StoredOAuthClientInformation;
  let first: string | undefined;
  provider.clientInformation = (context?: OAuthClientInformationContext) => {
    first ??= context?.issuer;
    return { ...client, issuer: first ?? FIRST };
  };
  return provider;
}

async function grantOf(
  provider: IdentityProviderOptions,
  request: GrantRequest,
  fetchFn: FetchLike,
  server: string,
): Promise<string> {
  const { idToken } = provider;
  const token = typeof idToken === 'string' ? idToken : await idToken();
  if (token === undefined || token === '')
    throw new TroupeError('auth_required', 'auth.crossApp.identityProvider.idToken gave no token', {
      server,
    });
  const exchange = {
    audience: request.authorizationServerUrl,
    resource: request.resourceUrl,
    idToken: token,
    clientId: provider.clientId,
    ...(provider.clientSecret === undefined ? {} : { clientSecret: provider.clientSecret }),
    ...(request.scope === undefined ? {} : { scope: request.scope }),
    fetchFn,
  };
  const { tokenEndpoint, issuer } = provider;
  const { jwtAuthGrant } =
    tokenEndpoint === undefined
      ? await discoverAndRequestJwtAuthGrant({ ...exchange, idpUrl: issuer ?? '' })
      : await requestJwtAuthorizationGrant({ ...exchange, tokenEndpoint });
  return jwtAuthGrant;
}
