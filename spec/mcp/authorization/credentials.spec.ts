import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createClock } from '../../../lib/core/clock.ts';
import { readAnswer } from '../../../lib/mcp/authorization/answer.ts';
import { createCredentials, type Credentials } from '../../../lib/mcp/authorization/credentials.ts';
import type { CredentialOptions } from '../../../lib/mcp/authorization/options.ts';
import type { HttpCredentials } from '../../../lib/mcp/transports/http-headers.ts';
import {
  createAuthorizationWorld,
  send,
  type AuthorizationWorld,
} from '../../support/authorization-world.ts';
import { limits } from '../../support/http-fixture.ts';

const ROBOT = {
  kind: 'clientCredentials',
  clientId: 'robot',
  clientSecret: 's3cret',
  timeoutMs: 5_000,
} as const;
const refusal = { status: 401, wwwAuthenticate: 'Bearer' };

let world: AuthorizationWorld;
const made: Credentials[] = [];
beforeEach(async () => {
  world = await createAuthorizationWorld();
});
afterEach(async () => {
  await Promise.all(made.splice(0).map((credentials) => credentials.close()));
  await world.close();
});

function credentialsOf(auth: CredentialOptions): { credentials: Credentials; http: HttpCredentials } {
  const credentials = createCredentials({
    auth: auth.kind === 'clientCredentials' ? { ...auth, expectedIssuer: world.issuer } : auth,
    server: 'alpha',
    url: new URL(world.url),
    limits: limits(),
    clock: createClock(),
  });
  made.push(credentials);
  const http = credentials.http();
  if (http === undefined) throw new Error('no credentials');
  return { credentials, http };
}

function claims(proof: string | undefined): Record<string, unknown> {
  return JSON.parse(Buffer.from(proof?.split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >;
}

describe('a token bound to our key', () => {
  const bound = (): void =>
    world.override('as /token', (_visit, response) =>
      send(response, 200, { access_token: 'bound', token_type: 'DPoP', expires_in: 60 }),
    );
  const target = { method: 'POST', url: new URL('http://h/mcp?q=1') } as const;

  it('travels with a proof for method, address and token, new each time', async () => {
    bound();
    const { http } = credentialsOf({ ...ROBOT, dpop: true });
    await expect(http.refused(refusal)).resolves.toBe(true);
    expect(claims(world.asked('/token')[0]?.headers['dpop'] as string)).toMatchObject({
      htm: 'POST',
      htu: `${world.issuer}/token`,
    });
    const first = await http.headers(target);
    const second = await http.headers({ ...target, method: 'GET' });
    expect(first?.['authorization']).toBe('DPoP bound');
    const ath = createHash('sha256').update('bound').digest('base64url');
    expect(claims(first?.['dpop'])).toMatchObject({ htm: 'POST', htu: 'http://h/mcp', ath });
    expect(claims(second?.['dpop'])).toMatchObject({ htm: 'GET', ath });
    expect(claims(first?.['dpop'])['jti']).not.toBe(claims(second?.['dpop'])['jti']);
  });

  it('takes a nonce of the server from any head, and sends a message again that lacked it', async () => {
    bound();
    const { http } = credentialsOf({ ...ROBOT, dpop: true });
    await http.refused(refusal);
    const own = { method: 'POST', url: new URL(world.url) } as const;
    const nonce = async (): Promise<unknown> => claims((await http.headers(own))?.['dpop'])['nonce'];
    const challenge = { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'n1' };
    expect(http.answered?.(401, challenge)).toBe(true);
    expect(await nonce()).toBe('n1');
    // The same nonce again is no reason to repeat anything.
    expect(http.answered?.(401, challenge)).toBe(false);
    expect(http.answered?.(200, { 'dpop-nonce': 'n2' })).toBe(false);
    expect(await nonce()).toBe('n2');
  });
});

describe('credentials of an authorization server', () => {
  it('cost nothing between two rounds', async () => {
    const { http } = credentialsOf(ROBOT);
    await http.refused(refusal);
    const target = { method: 'POST', url: new URL(world.url) } as const;
    const headers = http.headers(target);
    expect(headers).toMatchObject({ authorization: expect.stringMatching(/^Bearer access-/) });
    expect(http.headers(target)).toBe(headers);
  });

  it('are got once for all who wait, and not again for one who is late', async () => {
    const { http } = credentialsOf(ROBOT);
    const used = {};
    await Promise.all(Array.from({ length: 20 }, () => http.refused({ ...refusal, used })));
    await expect(http.refused({ ...refusal, used })).resolves.toBe(true);
    expect(world.grants()).toEqual(['client_credentials']);
  });

  it('do not cure a plain 403', async () => {
    const { http } = credentialsOf(ROBOT);
    await expect(http.refused({ status: 403, wwwAuthenticate: 'Bearer' })).resolves.toBe(false);
    expect(world.visits).toEqual([]);
  });

  it('keep asking the same question until it is answered or forgotten', async () => {
    const { credentials, http } = credentialsOf({
      kind: 'oauth',
      redirectUrl: 'http://localhost/cb',
      timeoutMs: 5_000,
    });
    const ask = async (): Promise<{ authorizationUrl: string; state: string }> => {
      const error = (await http.refused(refusal).catch((cause: unknown) => cause)) as {
        data: { authorizationUrl: string; state: string };
      };
      return error.data;
    };
    const [first, again] = [await ask(), await ask()];
    expect(again).toEqual(first);
    expect([credentials.awaits(first.state), credentials.awaits('other')]).toEqual([true, false]);
    credentials.restart();
    expect(credentials.awaits(first.state)).toBe(false);
    await expect(
      credentials.answer(readAnswer({ code: 'c', state: first.state }, 'alpha')),
    ).rejects.toMatchObject({ code: 'invalid_request' });
    expect((await ask()).state).not.toBe(first.state);
  });

  it('are those of a provider that the host has written', async () => {
    class Provider {
      #saved: unknown;
      readonly told: string[] = [];
      readonly redirectUrl = 'http://localhost/cb';
      readonly clientMetadata = { redirect_uris: ['http://localhost/cb'] };
      #client: unknown;
      #verifier = '';
      clientInformation(): unknown {
        return this.#client;
      }
      saveClientInformation(client: unknown): void {
        this.#client = client;
      }
      tokens(): unknown {
        return this.#saved;
      }
      saveTokens(tokens: unknown): void {
        this.#saved = tokens;
      }
      redirectToAuthorization(url: URL): void {
        this.told.push(url.href);
      }
      saveCodeVerifier(verifier: string): void {
        this.#verifier = verifier;
      }
      codeVerifier(): string {
        return this.#verifier;
      }
      #discovered: unknown;
      saveDiscoveryState(state: unknown): void {
        this.#discovered = state;
      }
      discoveryState(): unknown {
        return this.#discovered;
      }
    }
    const provider = new Provider();
    const { credentials, http } = credentialsOf({ kind: 'provider', provider, timeoutMs: 5_000 });
    await expect(http.refused(refusal)).rejects.toMatchObject({
      code: 'auth_required',
      data: { authorizationUrl: expect.stringContaining('/authorize?') },
    });
    expect(provider.told).toHaveLength(1);
    await credentials.answer(readAnswer({ url: await world.agree(provider.told[0] ?? '') }, 'alpha'));
    expect(provider.tokens()).toMatchObject({ token_type: 'Bearer' });
    expect(http.headers({ method: 'POST', url: new URL(world.url) })).toMatchObject({
      authorization: expect.stringMatching(/^Bearer/),
    });
  });
});
