import { describe, expect, it } from '@jest/globals';
import type { FetchLike } from '@modelcontextprotocol/client';
import { createMachineProvider } from '../../../lib/mcp/authorization/machine-provider.ts';

const nobody: FetchLike = () => Promise.reject(new Error('nothing is fetched here'));
const robot = { kind: 'clientCredentials', clientId: 'c', clientSecret: 's' } as const;

describe('the provider of a grant in which nobody is asked', () => {
  it('gives its secret to the expected issuer only', async () => {
    const provider = createMachineProvider({ ...robot, expectedIssuer: 'https://a' }, nobody, 'alpha');
    expect(await provider.clientInformation({ issuer: 'https://b' })).toEqual({
      client_id: 'c',
      client_secret: 's',
      issuer: 'https://a',
    });
  });

  it('stays with the first issuer that the server names', async () => {
    const provider = createMachineProvider(robot, nobody, 'alpha');
    for (const issuer of ['https://first', 'https://second']) {
      expect(await provider.clientInformation({ issuer })).toMatchObject({ issuer: 'https://first' });
    }
  });

  it('asks the identity provider for a grant, with the token of its user', async () => {
    const seen: { url: string; body: string }[] = [];
    const fetchFn: FetchLike = (url, init) => {
      seen.push({ url: String(url), body: init?.body as string });
      const grant = {
        access_token: 'grant',
        issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
        token_type: 'N_A',
      };
      return Promise.resolve(Response.json(grant));
    };
    const identityProvider = {
      clientId: 'i',
      idToken: async () => 'id-token',
      tokenEndpoint: 'https://idp/token',
    };
    const provider = createMachineProvider(
      { kind: 'crossApp', clientId: 'c', clientSecret: 's', expectedIssuer: 'https://a', identityProvider },
      fetchFn,
      'alpha',
    );
    await provider.saveAuthorizationServerUrl?.('https://a');
    await provider.saveResourceUrl?.('https://h/mcp');
    const params = await provider.prepareTokenRequest?.('x');
    expect(params?.get('assertion')).toBe('grant');
    expect(seen.map(({ url }) => url)).toEqual(['https://idp/token']);
    expect(Object.fromEntries(new URLSearchParams(seen[0]?.body))).toMatchObject({
      audience: 'https://a',
      resource: 'https://h/mcp',
      subject_token: 'id-token',
      client_id: 'i',
      scope: 'x',
    });
  });

  it('takes a grant of the host itself', async () => {
    const assertion = ({ resourceUrl }: { resourceUrl: string }): string => `grant for ${resourceUrl}`;
    const provider = createMachineProvider(
      { kind: 'crossApp', clientId: 'c', clientSecret: 's', expectedIssuer: 'https://a', assertion },
      nobody,
      'alpha',
    );
    await provider.saveAuthorizationServerUrl?.('https://a');
    await provider.saveResourceUrl?.('https://h/mcp');
    expect((await provider.prepareTokenRequest?.())?.get('assertion')).toBe('grant for https://h/mcp');
  });
});
