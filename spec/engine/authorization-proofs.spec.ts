import { createHash, createPublicKey, generateKeyPairSync, randomUUID, type JsonWebKey } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  createAuthorizationWorld,
  send,
  type AuthorizationWorld,
  type Visit,
} from '../support/authorization-world.ts';
import { engines, heard, hostHearsNothing, textOf } from '../support/engines.ts';
import { signJwt, thumbprint, verifiedJwt, type Jwt } from '../support/jwt.ts';

hostHearsNothing();
const make = engines();
const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pemOf = ({ privateKey }: ReturnType<typeof pair>): string =>
  privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;

let world: AuthorizationWorld;
/** What the authorization server found wrong, in order. */
let refusals: string[];
let used: Set<unknown>;

beforeEach(async () => {
  jest.spyOn(console, 'warn').mockImplementation(() => {});
  world = await createAuthorizationWorld();
  refusals = [];
  used = new Set();
  world.override('as /.well-known/oauth-authorization-server', (_visit, response) =>
    send(response, 200, {
      issuer: world.issuer,
      authorization_endpoint: `${world.issuer}/authorize`,
      token_endpoint: `${world.issuer}/token`,
      response_types_supported: ['code'],
      grant_types_supported: ['client_credentials', JWT_BEARER],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['private_key_jwt', 'client_secret_basic'],
      token_endpoint_auth_signing_alg_values_supported: ['ES256'],
      dpop_signing_alg_values_supported: ['ES256'],
    }),
  );
});
afterEach(() => {
  jest.restoreAllMocks();
  return world.close();
});

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag';

function engineWith(auth: object): Engine {
  return make({
    naming: 'transparent',
    servers: { guarded: { url: world.url, type: 'http', era: 'legacy', auth, restart: { baseMs: 60_000 } } },
  });
}

/** A claim set that is for `aud`, still good, and has not been here before; throws what is wrong with it. */
function checkClaims({ claims }: Jwt, aud: string): void {
  if (claims['aud'] !== aud) throw new Error('audience');
  const left = Number(claims['exp']) - Date.now() / 1000;
  if (!(left > 0 && left <= 3_600)) throw new Error('expiry');
  checkUnused(claims['jti']);
}

function checkUnused(jti: unknown): void {
  if (typeof jti !== 'string' || used.has(jti)) throw new Error('replay');
  used.add(jti);
}

function issue(extra: object = {}): object {
  const token = `access-${randomUUID()}`;
  world.accept(token);
  return { access_token: token, token_type: 'Bearer', expires_in: 3600, ...extra };
}

/** The token endpoint gives what `grant` gives; what it throws is on record and `error` is said. */
function tokenEndpoint(grant: (form: URLSearchParams, visit: Visit) => object, error: string): void {
  world.override('as /token', (visit, response) => {
    try {
      send(response, 200, grant(new URLSearchParams(visit.body), visit));
    } catch (reason) {
      refusals.push((reason as Error).message);
      send(response, error === 'invalid_client' ? 401 : 400, { error });
    }
  });
}

/** The same bytes once more, as somebody would send them who has seen them. */
async function replayed({ path, headers, body }: Visit): Promise<number> {
  const { authorization, dpop } = headers as Record<string, string | undefined>;
  const response = await fetch(`${world.issuer}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(authorization === undefined ? {} : { authorization }),
      ...(dpop === undefined ? {} : { dpop }),
    },
    body,
  });
  await response.text();
  return response.status;
}

const lastOf = (visits: readonly Visit[]): Visit => visits.at(-1) as Visit;

describe('a client that signs with a key of its own (private_key_jwt)', () => {
  const trusted = pair();
  const authOf = (keys: ReturnType<typeof pair>, more: object = {}): object => ({
    privateKeyJwt: { clientId: 'robot', privateKey: pemOf(keys), algorithm: 'ES256', ...more },
  });
  const grant = (form: URLSearchParams): object => {
    if (form.get('grant_type') !== 'client_credentials') throw new Error('grant');
    if (form.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      throw new Error('assertion type');
    const jwt = verifiedJwt(form.get('client_assertion') ?? '', trusted.publicKey);
    if (jwt.claims['iss'] !== 'robot' || jwt.claims['sub'] !== 'robot') throw new Error('client');
    checkClaims(jwt, world.issuer);
    return issue();
  };
  beforeEach(() => tokenEndpoint(grant, 'invalid_client'));

  it('gets tokens for assertions that are each used once', async () => {
    const engine = engineWith(authOf(trusted));
    await engine.start();
    expect(await textOf(engine.callTool('echo', { a: 1 }))).toBe('{"a":1}');
    world.expire();
    expect(await textOf(engine.callTool('echo', { a: 2 }))).toBe('{"a":2}');
    expect(world.grants()).toEqual(['client_credentials', 'client_credentials']);
    expect(used.size).toBe(2);
    expect(refusals).toEqual([]);
    // That the server looks: the same assertion again, and one for somebody else, are refused.
    expect(await replayed(lastOf(world.asked('/token')))).toBe(401);
    const claims = {
      iss: 'robot',
      sub: 'robot',
      exp: Date.now() / 1000 + 60,
      jti: 'x',
      aud: 'https://other.example',
    };
    const other = new URLSearchParams(lastOf(world.asked('/token')).body);
    other.set('client_assertion', signJwt(claims, trusted.privateKey));
    expect(await replayed({ ...lastOf(world.asked('/token')), body: other.toString() })).toBe(401);
    expect(refusals).toEqual(['replay', 'audience']);
  });

  it('with another key is told that it is refused', async () => {
    const stranger = pair();
    const engine = engineWith(authOf(stranger));
    const asked = heard(engine, 'auth.required');
    await engine.start();
    expect(asked[0]?.error).toMatchObject({
      code: 'auth_required',
      server: 'guarded',
      data: { error: 'invalid_client' },
    });
    expect(new Set(refusals)).toEqual(new Set(['signature']));
    const told = JSON.stringify([asked, engine.inspect()]);
    expect(told).not.toContain(pemOf(stranger).split('\n')[1]);
  });

  it('signs nothing for another issuer than the expected one', async () => {
    const engine = engineWith(authOf(trusted, { expectedIssuer: 'https://idp.example' }));
    await engine.start();
    expect(engine.fleet.connections[0]?.error).toMatchObject({ code: 'denied', server: 'guarded' });
    expect(world.asked('/token')).toEqual([]);
  });
});

describe('a company that vouches for its user (cross-app access)', () => {
  const idp = pair();
  /** Signs the grants. */
  let signer: ReturnType<typeof pair>;
  const idToken = (keys = idp): string =>
    signJwt(
      { iss: 'idp', sub: 'ada', aud: 'desktop', exp: Math.floor(Date.now() / 1000) + 60, jti: randomUUID() },
      keys.privateKey,
    );

  beforeEach(() => {
    signer = idp;
    world.override('as /idp/token', (visit, response) => {
      const form = new URLSearchParams(visit.body);
      try {
        const user = verifiedJwt(form.get('subject_token') ?? '', idp.publicKey).claims;
        if (user['aud'] !== 'desktop' || form.get('client_id') !== 'desktop') throw new Error('client');
        if (form.get('requested_token_type') !== ID_JAG) throw new Error('token type');
        const claims = {
          iss: 'idp',
          sub: user['sub'],
          aud: form.get('audience'),
          resource: form.get('resource'),
          client_id: 'app',
          exp: Math.floor(Date.now() / 1000) + 60,
          jti: randomUUID(),
        };
        send(response, 200, {
          access_token: signJwt(claims, signer.privateKey, { typ: 'oauth-id-jag+jwt' }),
          issued_token_type: ID_JAG,
          token_type: 'N_A',
        });
      } catch (reason) {
        refusals.push(`idp: ${(reason as Error).message}`);
        send(response, 400, { error: 'invalid_grant' });
      }
    });
    tokenEndpoint((form, { headers }) => {
      if (form.get('grant_type') !== JWT_BEARER) throw new Error('grant');
      if (headers.authorization !== `Basic ${Buffer.from('app:s3cret').toString('base64')}`)
        throw new Error('client');
      const jwt = verifiedJwt(form.get('assertion') ?? '', idp.publicKey);
      if (jwt.header['typ'] !== 'oauth-id-jag+jwt') throw new Error('type');
      if (jwt.claims['client_id'] !== 'app' || jwt.claims['resource'] !== world.url)
        throw new Error('subject');
      checkClaims(jwt, world.issuer);
      return issue();
    }, 'invalid_grant');
  });

  const authOf = (token: string): object => ({
    crossApp: {
      clientId: 'app',
      clientSecret: 's3cret',
      identityProvider: { clientId: 'desktop', idToken: token, tokenEndpoint: `${world.issuer}/idp/token` },
    },
  });

  it('is asked for a grant, which the server of the resource takes once', async () => {
    const engine = engineWith(authOf(idToken()));
    await engine.start();
    expect(await textOf(engine.callTool('echo', { a: 1 }))).toBe('{"a":1}');
    world.expire();
    expect(await textOf(engine.callTool('echo', { a: 2 }))).toBe('{"a":2}');
    expect(world.grants()).toEqual([JWT_BEARER, JWT_BEARER]);
    expect(world.asked('/idp/token')).toHaveLength(2);
    expect(refusals).toEqual([]);
    expect(await replayed(lastOf(world.asked('/token')))).toBe(400);
    expect(refusals).toEqual(['replay']);
    // The user's own token goes to the identity provider alone.
    for (const { body } of world.asked('/token')) expect(body).not.toContain('subject_token');
  });

  it('with a grant of another key is refused', async () => {
    signer = pair();
    const engine = engineWith(authOf(idToken()));
    const asked = heard(engine, 'auth.required');
    await engine.start();
    expect(asked[0]?.error).toMatchObject({
      code: 'auth_required',
      server: 'guarded',
      data: { error: 'invalid_grant' },
    });
    expect(new Set(refusals)).toEqual(new Set(['signature']));
  });

  it('does not vouch for a user whose token is of another key', async () => {
    const engine = engineWith(authOf(idToken(pair())));
    const asked = heard(engine, 'auth.required');
    await engine.start();
    expect(asked[0]?.error).toMatchObject({ code: 'auth_required', server: 'guarded' });
    expect(new Set(refusals)).toEqual(new Set(['idp: signature']));
    expect(world.asked('/token')).toEqual([]);
  });
});

describe('tokens that are bound to a key (DPoP)', () => {
  /** Thumbprints by token. */
  let bound: Map<string, string>;
  /** To which key tokens are bound; absent: to the one that asks. */
  let boundTo: string | undefined;

  /** The thumbprint of whoever has made the proof; throws what is wrong with it. */
  const proofOf = ({ method, headers }: Visit, htu: string, token: string | undefined): string => {
    const { header, claims } = verifiedJwt(String(headers['dpop']), 'its own');
    if (header['typ'] !== 'dpop+jwt' || 'd' in (header['jwk'] as object)) throw new Error('type');
    if (claims['htm'] !== method || claims['htu'] !== htu) throw new Error('target');
    if (Math.abs(Number(claims['iat']) - Date.now() / 1000) > 60) throw new Error('age');
    const ath = token === undefined ? undefined : createHash('sha256').update(token).digest('base64url');
    if (claims['ath'] !== ath) throw new Error('token');
    checkUnused(claims['jti']);
    if (claims['nonce'] !== 'n-1') throw new Error('nonce');
    return thumbprint(header['jwk'] as JsonWebKey);
  };

  beforeEach(() => {
    bound = new Map();
    boundTo = undefined;
    world.override('as /token', (visit, response) => {
      try {
        const jkt = proofOf(visit, `${world.issuer}/token`, undefined);
        const given = issue({ token_type: 'DPoP' }) as { access_token: string };
        bound.set(given.access_token, boundTo ?? jkt);
        send(response, 200, given);
      } catch (reason) {
        const { message } = reason as Error;
        refusals.push(message);
        const error = message === 'nonce' ? 'use_dpop_nonce' : 'invalid_dpop_proof';
        send(response, 400, { error }, { 'dpop-nonce': 'n-1' });
      }
    });
    world.override('mcp /mcp', (visit, response, otherwise) => {
      const token = /^DPoP (.+)$/.exec(visit.headers.authorization ?? '')?.[1];
      if (token === undefined) return otherwise({ ...visit, headers: {} });
      try {
        if (proofOf(visit, world.url, token) !== bound.get(token)) throw new Error('key');
      } catch (reason) {
        const { message } = reason as Error;
        refusals.push(`mcp: ${message}`);
        const error = message === 'nonce' ? 'use_dpop_nonce' : 'invalid_token';
        return send(response, 401, {}, { 'www-authenticate': `DPoP error="${error}"`, 'dpop-nonce': 'n-1' });
      }
      return otherwise({ ...visit, headers: { ...visit.headers, authorization: `Bearer ${token}` } });
    });
  });

  const AUTH = { clientCredentials: { clientId: 'robot', clientSecret: 's3cret' }, dpop: true };

  it('are proved anew with every request, to both servers, with the nonces they ask for', async () => {
    const engine = engineWith(AUTH);
    await engine.start();
    expect(engine.connection('guarded').state).toBe('Connected');
    for (let i = 0; i < 5; i++) expect(await textOf(engine.callTool('echo', { i }))).toBe(`{"i":${i}}`);
    // Each server said once which nonce it wants.
    expect(refusals).toEqual(['nonce', 'mcp: nonce']);
    expect(bound.size).toBe(1);
    // A proof that was seen is worth nothing, with its token or without.
    const call = lastOf(
      world.visits.filter(({ at, headers }) => at === 'mcp' && headers['dpop'] !== undefined),
    );
    const { authorization, dpop } = call.headers as Record<string, string>;
    const again = await fetch(world.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: authorization ?? '', dpop: dpop ?? '' },
      body: call.body,
    });
    expect(again.status).toBe(401);
    expect(await replayed(lastOf(world.asked('/token')))).toBe(400);
    expect(refusals.slice(2)).toEqual(['mcp: replay', 'replay']);
  });

  it('of another key are told to be refused, and not asked for without end', async () => {
    boundTo = thumbprint(createPublicKey(pair().privateKey).export({ format: 'jwk' }));
    const engine = engineWith(AUTH);
    await engine.start();
    const [row] = engine.fleet.connections;
    expect(row?.error).toMatchObject({ code: 'auth_required', server: 'guarded' });
    expect(refusals).toContain('mcp: key');
    expect(bound.size).toBeLessThan(5);
    expect(row?.error?.message).not.toContain('access-');
  });
});
