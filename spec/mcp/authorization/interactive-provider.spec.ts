import { describe, expect, it } from '@jest/globals';
import { InteractiveProvider } from '../../../lib/mcp/authorization/interactive-provider.ts';
import type { TokenStore } from '../../../lib/mcp/authorization/token-store.ts';

const OAUTH = { kind: 'oauth', redirectUrl: 'http://localhost/cb' } as const;
const A = { issuer: 'https://a' };
const B = { issuer: 'https://b' };
const tokens = { access_token: 't', token_type: 'Bearer', ...A };

describe('what a flow remembers', () => {
  it('is a registration for each issuer', async () => {
    const provider = new InteractiveProvider(OAUTH, 'https://h/mcp');
    await provider.saveClientInformation({ client_id: 'ca', ...A }, A);
    await provider.saveClientInformation({ client_id: 'cb', ...B }, B);
    expect([await provider.clientInformation(A), await provider.clientInformation(B)]).toMatchObject([
      { client_id: 'ca' },
      { client_id: 'cb' },
    ]);
    for (let i = 0; i < 8; i++)
      await provider.saveClientInformation({ client_id: String(i) }, { issuer: `https://${i}` });
    expect(await provider.clientInformation(A)).toBeUndefined();
  });

  it('is what the host has registered, for one issuer', async () => {
    const named = new InteractiveProvider(
      { ...OAUTH, clientId: 'c', clientSecret: 's', expectedIssuer: 'https://a' },
      'https://h/mcp',
    );
    expect(await named.clientInformation(B)).toEqual({
      client_id: 'c',
      client_secret: 's',
      issuer: 'https://a',
    });
    const first = new InteractiveProvider({ ...OAUTH, clientId: 'c' }, 'https://h/mcp');
    expect([await first.clientInformation(A), await first.clientInformation(B)]).toEqual([
      { client_id: 'c', issuer: 'https://a' },
      { client_id: 'c', issuer: 'https://a' },
    ]);
  });

  it('is forgotten by its parts', async () => {
    const provider = new InteractiveProvider(OAUTH, 'https://h/mcp');
    await provider.saveTokens(tokens);
    provider.saveCodeVerifier('v');
    provider.saveDiscoveryState({ authorizationServerUrl: 'https://a' });
    await provider.invalidateCredentials('tokens');
    expect([await provider.tokens(), provider.codeVerifier(), provider.discoveryState()]).toEqual([
      undefined,
      'v',
      { authorizationServerUrl: 'https://a' },
    ]);
    await provider.invalidateCredentials('all');
    expect([provider.codeVerifier(), provider.discoveryState()]).toEqual(['', undefined]);
  });

  it('never uses a state twice', () => {
    const provider = new InteractiveProvider(OAUTH, 'https://h/mcp');
    expect(new Set(Array.from({ length: 100 }, () => provider.state())).size).toBe(100);
  });

  it('outlives the process where there is a store', async () => {
    const kept = new Map<string, string>();
    const store: TokenStore = {
      load: (key) => Promise.resolve(kept.get(key)),
      save: (key, value) =>
        Promise.resolve(void (value === undefined ? kept.delete(key) : kept.set(key, value))),
    };
    const before = new InteractiveProvider(OAUTH, 'https://h/mcp', store);
    await before.saveClientInformation({ client_id: 'ca', ...A }, A);
    await before.saveTokens(tokens);
    const after = new InteractiveProvider(OAUTH, 'https://h/mcp', store);
    expect([await after.tokens(), await after.clientInformation(A)]).toEqual([
      tokens,
      { client_id: 'ca', ...A },
    ]);
    expect(await new InteractiveProvider(OAUTH, 'https://h/other', store).tokens()).toBeUndefined();
  });
});
