import { describe, expect, it } from '@jest/globals';
import { secretsSent } from '../../../lib/mcp/authorization/secrets-sent.ts';

describe('what a request to an authorization server carries', () => {
  it.each([
    [{ body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'r' }) }, ['r']],
    [{ body: 'grant_type=authorization_code&code=c&code_verifier=v&client_id=i' }, ['c', 'v']],
    [{ body: new URLSearchParams({ client_assertion: 'a', client_secret: 's' }) }, ['s', 'a']],
    [{ body: new URLSearchParams({ subject_token: 't', assertion: 'g' }) }, ['g', 't']],
    [{ body: '{"client_name":"code=no"}' }, []],
    [{ headers: { authorization: 'Bearer token' } }, ['token']],
    [
      { headers: new Headers({ Authorization: `Basic ${btoa('id:s%20p%3A')}` }) },
      [btoa('id:s%20p%3A'), 's p:'],
    ],
    [{ headers: { authorization: `Basic ${btoa('id:100%')}` } }, [btoa('id:100%'), '100%']],
    [{}, []],
    [undefined, []],
  ] as ReadonlyArray<[RequestInit | undefined, string[]]>)('%j has the secrets %j', (init, secrets) => {
    expect(secretsSent(init)).toEqual(secrets);
  });
});
