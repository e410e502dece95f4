import { describe, expect, it } from '@jest/globals';
import { invalidAt, resolved, serverRefusal } from '../support/config-expectations.ts';

const url = 'https://h';
const read = (auth: unknown): unknown => {
  const result = resolved({ url, auth: auth as object }).auth;
  return result === undefined ? undefined : { ...result };
};
const SHARED = { timeoutMs: 30_000, per: 'server', idleMs: 900_000 };
const OAUTH = {
  ...SHARED,
  kind: 'oauth',
  redirectUrl: 'http://localhost/callback',
  dpop: false,
  per: 'principal',
};

describe('auth', () => {
  it('is a token, or a function that gets one', () => {
    const ask = (): string => 't';
    expect(read({ bearer: 't' })).toEqual({ kind: 'bearer', token: 't', ...SHARED });
    expect(read({ bearer: ask, timeoutMs: 5 })).toEqual({
      ...SHARED,
      kind: 'bearer',
      token: ask,
      timeoutMs: 5,
    });
    expect(read({ token: 't' })).toEqual({ kind: 'bearer', token: 't', ...SHARED });
    expect(read(false)).toBeUndefined();
  });

  it("belongs to principals where it is a person's or asked for by person, to the server else, and as it is said", () => {
    const per = (auth: object): unknown => (read(auth) as { per: unknown }).per;
    expect(per({ bearer: 't' })).toBe('server');
    expect(per({ bearer: () => 't' })).toBe('server');
    expect(per({ bearer: (context: unknown) => String(context) })).toBe('principal');
    expect(per({ oauth: {} })).toBe('principal');
    expect(per({ oauth: {}, per: 'server' })).toBe('server');
    expect(per({ bearer: (context: unknown) => String(context), per: 'tenant' })).toBe('tenant');
    const identityProvider = { clientId: 'i', issuer: 'https://idp', idToken: (of: unknown) => String(of) };
    expect(per({ crossApp: { clientId: 'c', clientSecret: 's', identityProvider } })).toBe('principal');
    expect(
      per({
        crossApp: { clientId: 'c', clientSecret: 's', assertion: (_: unknown, of: unknown) => String(of) },
      }),
    ).toBe('principal');
    expect(serverRefusal({ url, auth: { bearer: 't', per: 'person' } }).message).toContain(
      'is "person"; give server, tenant or principal',
    );
  });

  it('is OAuth in our words and in those of other hosts', () => {
    expect(read({ oauth: {} })).toEqual(OAUTH);
    expect(read({ oauth: { redirectUrl: 'app://back', scope: 'a b', clientName: 'x' }, dpop: true })).toEqual(
      {
        ...OAUTH,
        redirectUrl: 'app://back',
        scope: 'a b',
        clientName: 'x',
        dpop: true,
      },
    );
    // Claude Code and VS Code.
    const claude = resolved({
      url,
      oauth: { clientId: 'c', callbackPort: 8080, authServerMetadataUrl: 'https://a' },
    }).auth;
    expect({ ...claude }).toEqual({ ...OAUTH, clientId: 'c', redirectUrl: 'http://localhost:8080/callback' });
    // Cursor.
    const cursor = read({ CLIENT_ID: 'c', CLIENT_SECRET: 's', scopes: ['a', 'b'] });
    expect(cursor).toEqual({ ...OAUTH, clientId: 'c', clientSecret: 's', scope: 'a b' });
  });

  it('is a grant in which nobody is asked', () => {
    const common = { ...SHARED, dpop: false, clientId: 'c' };
    expect(
      read({ clientCredentials: { clientId: 'c', clientSecret: 's', expectedIssuer: 'https://i' } }),
    ).toEqual({
      ...common,
      kind: 'clientCredentials',
      clientSecret: 's',
      expectedIssuer: 'https://i',
    });
    const privateKey = { kty: 'EC' };
    expect(read({ privateKeyJwt: { clientId: 'c', privateKey, algorithm: 'ES256' } })).toEqual({
      ...common,
      kind: 'privateKeyJwt',
      privateKey,
      algorithm: 'ES256',
    });
    const identityProvider = { clientId: 'i', idToken: 't', issuer: 'https://idp' };
    expect(read({ crossApp: { clientId: 'c', clientSecret: 's', identityProvider } })).toEqual({
      ...common,
      kind: 'crossApp',
      clientSecret: 's',
      identityProvider,
    });
  });

  it('has its variables expanded, at any depth', () => {
    const auth = read({
      crossApp: {
        clientId: '${MISSING:-x}',
        clientSecret: 's',
        identityProvider: { clientId: '${env:MISSING:-y}', idToken: 't', issuer: 'https://i' },
      },
    });
    expect(auth).toMatchObject({ clientId: 'x', identityProvider: { clientId: 'y' } });
  });

  it('keeps a provider of the SDK as it is', () => {
    class Provider {
      tokens(): undefined {}
      clientInformation(): undefined {}
    }
    for (const provider of [
      new Provider(),
      { token: async () => 't' },
      { tokens: () => undefined, clientInformation: () => undefined },
    ]) {
      expect(read(provider)).toEqual({ ...SHARED, kind: 'provider', provider });
    }
  });

  it.each([
    [{ auth: 'x' }, 'auth', /string/],
    [{ auth: new Date() }, 'auth', /no provider/],
    [{ auth: {}, oauth: {} }, 'oauth', /beside auth/],
    [{ auth: { CLIENT_ID: 'a', clientId: 'b' } }, 'auth.CLIENT_ID', /beside clientId/],
    [{ auth: { bearer: '${TROUPE_SPEC_MISSING}' } }, 'auth.bearer', /not set/],
    [{ auth: { bearer: 3 } }, 'auth.bearer', /is 3/],
    [{ auth: { bearer: 'two\nlines' } }, 'auth.bearer', /header/],
    [{ auth: { bearer: 't', oauth: {} } }, 'auth.oauth', /beside bearer/],
    [{ auth: { bearer: 't', dpop: true } }, 'auth.dpop', /beside bearer/],
    [{ auth: { bearer: 't', timeout: 3 } }, 'auth.timeout', /not an option/],
    [{ auth: { bearer: 't', timeoutMs: 0 } }, 'auth.timeoutMs', /is 0/],
    [{ auth: { oauth: { redirectUrl: 'nowhere' } } }, 'auth.oauth.redirectUrl', /no address/],
    [{ auth: { oauth: { redirectUrl: 'http://h/back' } } }, 'auth.oauth.redirectUrl', /plain http/],
    [{ auth: { oauth: { redirectUrl: 'javascript:0' } } }, 'auth.oauth.redirectUrl', /javascript/],
    [
      { auth: { oauth: { clientMetadataUrl: 'https://h/' } } },
      'auth.oauth.clientMetadataUrl',
      /no https address/,
    ],
    [{ auth: { oauth: { clientSecret: 's' } } }, 'auth.oauth.clientId', /missing/],
    [{ auth: { oauth: { onRedirect: 'open' } } }, 'auth.oauth.onRedirect', /string/],
    [{ auth: { clientCredentials: { clientId: 'c' } } }, 'auth.clientCredentials.clientSecret', /missing/],
    [
      { auth: { clientCredentials: { clientId: 'c', clientSecret: 's', expectedIsuer: 'x' } } },
      'auth.clientCredentials.expectedIsuer',
      /did you mean expectedIssuer/,
    ],
    [
      { auth: { privateKeyJwt: { clientId: 'c', algorithm: 'ES256' } } },
      'auth.privateKeyJwt.privateKey',
      /missing/,
    ],
    [
      { auth: { crossApp: { clientId: 'c', clientSecret: 's' } } },
      'auth.crossApp.identityProvider',
      /missing/,
    ],
    [
      {
        auth: {
          crossApp: { clientId: 'c', clientSecret: 's', identityProvider: { clientId: 'i', idToken: 't' } },
        },
      },
      'auth.crossApp.identityProvider.tokenEndpoint',
      /missing/,
    ],
  ])('refuses %j at %s', (options, field, problem) => {
    expect(serverRefusal({ url, ...options })).toEqual(invalidAt(field, problem));
  });

  it('refuses circles', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(serverRefusal({ url, auth: circle })).toEqual(
      invalidAt(`auth${'.self'.repeat(17)}`, /too deeply/),
    );
  });
});
