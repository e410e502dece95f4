import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createEngine } from '../../lib/engine/engine.ts';
import type { EventOf } from '../../lib/core/events.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  createAuthorizationWorld,
  createCanary,
  send,
  type AuthorizationWorld,
} from '../support/authorization-world.ts';
import { engines } from '../support/engines.ts';

const redirectUrl = 'http://localhost:7777/callback';
const OAUTH = { oauth: { redirectUrl } };

const make = engines();
let world: AuthorizationWorld;
beforeEach(async () => {
  // The SDK tells there why it asks again.
  jest.spyOn(console, 'warn').mockImplementation(() => {});
  world = await createAuthorizationWorld();
});
afterEach(() => {
  jest.restoreAllMocks();
  return world.close();
});

function engineWith(
  auth: object | undefined,
  server: object = {},
): { engine: Engine; asked: EventOf<'auth.required'>[] } {
  const engine = make({
    naming: 'transparent',
    servers: {
      guarded: {
        url: world.url,
        type: 'http',
        era: 'legacy',
        ...(auth === undefined ? {} : { auth }),
        ...server,
      },
    },
  });
  const asked: EventOf<'auth.required'>[] = [];
  engine.on('auth.required', (event) => asked.push(event));
  return { engine, asked };
}

/** The connection follows right after a refused request has failed. */
async function inState(engine: Engine, state: string): Promise<void> {
  const view = engine.connection('guarded');
  if (view.state === state) return;
  await new Promise<void>((resolve) => {
    const subscription = view.state$.subscribe((now) => {
      if (now !== state) return;
      queueMicrotask(() => subscription.unsubscribe());
      resolve();
    });
  });
}

const question = (event: EventOf<'auth.required'> | undefined): string =>
  String(event?.challenge?.['authorizationUrl']);

async function authorized(
  auth: object = OAUTH,
): Promise<{ engine: Engine; asked: EventOf<'auth.required'>[] }> {
  const made = engineWith(auth);
  await made.engine.start();
  await made.engine.authorize('guarded', { url: await world.agree(question(made.asked[0])) });
  expect(made.engine.connection('guarded').state).toBe('Connected');
  await made.engine.listTools();
  return made;
}

describe('authorization code', () => {
  it('asks a person, and goes on with the answer', async () => {
    const { engine, asked } = engineWith(OAUTH);
    await engine.start();
    expect(engine.connection('guarded').state).toBe('AuthRequired');
    expect(asked).toHaveLength(1);
    const url = new URL(question(asked[0]));
    expect(url.origin).toBe(world.issuer);
    expect(asked[0]?.challenge?.['state']).toBe(url.searchParams.get('state'));
    expect(url.searchParams.get('code_challenge_method')).toBe('S256');
    expect(url.searchParams.get('resource')).toBe(world.url);
    expect((await engine.listTools()).failures).toMatchObject([
      { server: 'guarded', error: { code: 'auth_required' } },
    ]);
    await engine.authorize('guarded', { url: await world.agree(url.href) });
    expect(engine.connection('guarded').state).toBe('Connected');
    const result = await engine.callTool('echo', { a: 1 });
    expect(result['content']).toEqual([{ type: 'text', text: '{"a":1}' }]);
    expect(world.grants()).toEqual(['authorization_code']);
    expect(JSON.stringify(engine.inspect())).not.toMatch(/access-|refresh-/);
  });

  it.each(['searchParams', 'code'])('takes the answer as %s', async (form) => {
    const { engine, asked } = engineWith(OAUTH);
    await engine.start();
    const { searchParams } = new URL(await world.agree(question(asked[0])));
    await engine.authorize('guarded', form === 'code' ? Object.fromEntries(searchParams) : { searchParams });
    expect(engine.connection('guarded').state).toBe('Connected');
  });

  it.each([
    ['state', 'state'],
    ['iss', 'issuer'],
  ])('refuses an answer whose %s is another one', async (parameter, reason) => {
    const { engine, asked } = engineWith(OAUTH);
    await engine.start();
    const back = new URL(await world.agree(question(asked[0])));
    back.searchParams.set(parameter, 'https://other.example');
    await expect(engine.authorize('guarded', { url: back.href })).rejects.toMatchObject({
      code: 'denied',
      server: 'guarded',
      data: { reason },
    });
    expect(world.grants()).toEqual([]);
    expect(engine.connection('guarded').state).toBe('AuthRequired');
  });

  it('tells that the person said no, and asks anew when it is told to try again', async () => {
    const { engine, asked } = engineWith(OAUTH);
    await engine.start();
    const back = new URL(await world.agree(question(asked[0])));
    back.searchParams.delete('code');
    back.searchParams.set('error', 'access_denied');
    await expect(engine.authorize('guarded', { url: back.href })).rejects.toMatchObject({
      code: 'auth_required',
      data: { error: 'access_denied' },
    });
    await engine.authorize('guarded');
    expect(asked).toHaveLength(2);
    expect(question(asked[1])).not.toBe(question(asked[0]));
    await engine.authorize('guarded', { url: await world.agree(question(asked[1])) });
    expect(engine.connection('guarded').state).toBe('Connected');
  });

  it.each([[{}], [{ url: 'no address' }], [{ token: 'x' }]])('refuses the answer %j', async (answer) => {
    const { engine } = engineWith(OAUTH);
    await engine.start();
    await expect(engine.authorize('guarded', answer)).rejects.toMatchObject({
      code: 'invalid_request',
      server: 'guarded',
    });
  });

  it('refreshes once for 20 calls that meet an expired token, and repeats each of them', async () => {
    const { engine } = await authorized();
    world.expire();
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => engine.callTool('echo', { i })));
    expect(results.map((result) => JSON.stringify(result['content']))).toEqual(
      Array.from({ length: 20 }, (_, i) => JSON.stringify([{ type: 'text', text: `{"i":${i}}` }])),
    );
    expect(world.grants()).toEqual(['authorization_code', 'refresh_token']);
    expect(engine.connection('guarded').state).toBe('Connected');
  });

  it('shares tokens and refreshes among replicas at one address', async () => {
    const { engine, asked } = engineWith(OAUTH, { replicas: 3 });
    await engine.start();
    await engine.authorize('guarded', { url: await world.agree(question(asked[0])) });
    expect(engine.fleet.connections.map(({ state }) => state)).toEqual([
      'Connected',
      'Connected',
      'Connected',
    ]);
    expect(new Set(asked.map(question)).size).toBe(1);
    world.expire();
    await Promise.all(Array.from({ length: 20 }, (_, i) => engine.callTool('echo', { i })));
    expect(world.grants()).toEqual(['authorization_code', 'refresh_token']);
  });

  it('asks a person again where the refresh is refused', async () => {
    const { engine, asked } = await authorized();
    world.expire();
    world.override('as /token', (_visit, response) => send(response, 400, { error: 'invalid_grant' }));
    await expect(engine.callTool('echo', {})).rejects.toMatchObject({
      code: 'auth_required',
      data: { reason: 'interaction' },
    });
    await inState(engine, 'AuthRequired');
    expect(asked).toHaveLength(2);
    world.override('as /token', undefined);
    await engine.authorize('guarded', { url: await world.agree(question(asked[1])) });
    await expect(engine.callTool('echo', {})).resolves.toBeDefined();
  });

  it('does not send a person through a browser because the authorization server is down', async () => {
    const { engine, asked } = await authorized();
    world.expire();
    world.override('as /token', (_visit, response) => send(response, 503, {}));
    await expect(engine.callTool('echo', {})).rejects.toMatchObject({
      code: 'unavailable',
      server: 'guarded',
    });
    expect(asked).toHaveLength(1);
    world.override('as /token', undefined);
    await inState(engine, 'Connected');
  });

  it('asks for a wider scope, for the union of both, and not twice for the same', async () => {
    const { engine, asked } = await authorized({ oauth: { redirectUrl, scope: 'basic' } });
    world.needScope('admin');
    await expect(engine.callTool('echo', {})).rejects.toMatchObject({ code: 'auth_required' });
    await inState(engine, 'AuthRequired');
    expect(asked[1]?.challenge?.['scope']).toBe('basic admin');
    // The person agrees to less than what was asked for.
    const less = question(asked[1]).replace('basic+admin', 'basic').replace('basic%20admin', 'basic');
    await engine.authorize('guarded', { url: await world.agree(less) });
    await expect(engine.callTool('echo', {})).rejects.toMatchObject({
      code: 'denied',
      data: { reason: 'insufficient_scope', scope: 'admin' },
    });
    expect(engine.connection('guarded').state).toBe('Connected');
    expect(asked).toHaveLength(2);
  });

  it('ends after two authorizations that the server does not take', async () => {
    const { engine, asked } = engineWith(OAUTH);
    world.override('mcp /mcp', (_visit, response) =>
      send(response, 401, {}, { 'www-authenticate': 'Bearer' }),
    );
    await engine.start();
    await engine.authorize('guarded', { url: await world.agree(question(asked[0])) });
    await engine.authorize('guarded', { url: await world.agree(question(asked[1])) });
    expect(asked).toHaveLength(3);
    expect(asked[2]?.challenge).toMatchObject({ reason: 'rounds' });
    expect(engine.connection('guarded').state).toBe('AuthRequired');
  });

  it('calls onRedirect beside the event', async () => {
    const called: string[] = [];
    const { engine, asked } = engineWith({
      oauth: { redirectUrl, onRedirect: (url: URL) => void called.push(url.href) },
    });
    await engine.start();
    expect(called).toEqual([question(asked[0])]);
  });
});

describe('where nobody is asked', () => {
  it('gets a token with client credentials, and a new one when it is refused', async () => {
    const { engine } = engineWith({
      clientCredentials: { clientId: 'robot', clientSecret: 's3cret', expectedIssuer: world.issuer },
    });
    await engine.start();
    expect(engine.connection('guarded').state).toBe('Connected');
    world.expire();
    await Promise.all(Array.from({ length: 20 }, () => engine.callTool('echo', {})));
    expect(world.grants()).toEqual(['client_credentials', 'client_credentials']);
  });

  it('gives the secret to no other issuer than the expected one', async () => {
    const { engine } = engineWith({
      clientCredentials: { clientId: 'robot', clientSecret: 's3cret', expectedIssuer: 'https://idp.example' },
    });
    await engine.start();
    expect(engine.fleet.connections[0]?.error).toMatchObject({ code: 'denied', server: 'guarded' });
    expect(world.grants()).toEqual([]);
  });

  it('tells that the client is refused', async () => {
    const { engine, asked } = engineWith({ clientCredentials: { clientId: 'robot', clientSecret: 'wrong' } });
    await engine.start();
    expect(asked[0]?.error).toMatchObject({
      code: 'auth_required',
      server: 'guarded',
      data: { error: 'invalid_client' },
    });
    expect(asked[0]?.error.message).not.toContain('wrong');
  });
});

describe('a token of the host', () => {
  it('is sent, and replaced by authorize() when it is refused', async () => {
    world.accept('t1');
    const { engine, asked } = engineWith({ bearer: 't1' });
    await engine.start();
    expect(engine.connection('guarded').state).toBe('Connected');
    await engine.listTools();
    world.expire();
    await expect(engine.callTool('echo', {})).rejects.toMatchObject({
      code: 'auth_required',
      server: 'guarded',
      delivery: 'unsent',
    });
    await inState(engine, 'AuthRequired');
    expect(asked).toHaveLength(1);
    world.accept('t2');
    await engine.authorize('guarded', { token: 't2' });
    await expect(engine.callTool('echo', {})).resolves.toBeDefined();
  });

  it('can be given where none was configured', async () => {
    const { engine } = engineWith(undefined);
    await engine.start();
    expect(engine.connection('guarded').state).toBe('AuthRequired');
    world.accept('t');
    await engine.authorize('guarded', { token: 't' });
    expect(engine.connection('guarded').state).toBe('Connected');
  });

  it('is asked for once by 20 calls that meet a refusal', async () => {
    let asked = 0;
    world.accept('t1');
    const { engine } = engineWith({ bearer: async () => `t${++asked}` });
    await engine.start();
    expect(asked).toBe(1);
    world.expire();
    world.accept('t2');
    await Promise.all(Array.from({ length: 20 }, () => engine.callTool('echo', {})));
    expect(asked).toBe(2);
  });

  it.each([
    [
      'throws',
      () => Promise.reject(new Error('keychain is locked')),
      'AuthRequired',
      { code: 'auth_required', message: expect.stringMatching(/keychain is locked/) },
    ],
    ['gives none', () => undefined, 'AuthRequired', { code: 'auth_required' }],
    ['gives no text', () => 'two\nlines', 'AuthRequired', { code: 'auth_required' }],
    [
      'hangs',
      () => new Promise<string>(() => {}),
      'Error',
      { code: 'unavailable', data: { reason: 'authorization_timeout', limitMs: 50 } },
    ],
  ])('whose callback %s is an error that names the server', async (_how, bearer, state, error) => {
    const { engine } = engineWith({ bearer, timeoutMs: 50 }, { restart: { baseMs: 60_000 } });
    await engine.start();
    const [row] = engine.fleet.connections;
    expect(row?.state).toBe(state);
    expect(row?.error).toMatchObject({ server: 'guarded', ...error });
    expect(world.visits).toHaveLength(0);
  });
});

describe('credentials stay with their origin', () => {
  it('configured headers go to no authorization server', async () => {
    const { engine, asked } = engineWith(OAUTH, { headers: { 'x-api-key': 'k3y' } });
    await engine.start();
    await engine.authorize('guarded', { url: await world.agree(question(asked[0])) });
    const seen = (at: string): (string | undefined)[] => [
      ...new Set(
        world.visits.filter((v) => v.at === at).map((v) => v.headers['x-api-key'] as string | undefined),
      ),
    ];
    expect(seen('mcp')).toEqual(['k3y']);
    expect(seen('as')).toEqual([undefined]);
  });

  it('a redirect of the server is not followed, with a token least of all', async () => {
    const canary = await createCanary();
    try {
      world.accept('t');
      const { engine } = engineWith({ bearer: 't' });
      await engine.start();
      await engine.listTools();
      world.override('mcp /mcp', (_visit, response) =>
        send(response, 307, undefined, { location: `${canary.origin}/mcp` }),
      );
      await expect(engine.callTool('echo', {})).rejects.toMatchObject({ code: 'protocol_error' });
      expect(canary.visits).toEqual([]);
    } finally {
      await canary.close();
    }
  });

  it('a token endpoint that redirects gets the refresh token, its target does not', async () => {
    const canary = await createCanary();
    try {
      const { engine } = await authorized();
      world.expire();
      world.override('as /token', (_visit, response) =>
        send(response, 307, undefined, { location: `${canary.origin}/token` }),
      );
      await expect(engine.callTool('echo', {})).rejects.toMatchObject({ server: 'guarded' });
      expect(canary.visits).toEqual([]);
    } finally {
      await canary.close();
    }
  });

  it.each([
    'http://169.254.169.254/latest/meta-data',
    'https://10.1.2.3/metadata',
    'https://[fd00::1]/metadata',
  ])('metadata at %s is not fetched', async (target) => {
    const { engine } = engineWith(OAUTH);
    world.override('mcp /mcp', (_visit, response) =>
      send(response, 401, {}, { 'www-authenticate': `Bearer resource_metadata="${target}"` }),
    );
    await engine.start();
    expect(engine.fleet.connections[0]?.error).toMatchObject({ code: 'denied', server: 'guarded' });
    expect(world.asked('/token')).toEqual([]);
  });

  it('an authorization server in a private network is not asked', async () => {
    const { engine } = engineWith(OAUTH);
    world.override('mcp /.well-known/oauth-protected-resource/mcp', (_visit, response) =>
      send(response, 200, { resource: world.url, authorization_servers: ['https://192.168.1.1'] }),
    );
    await engine.start();
    expect(engine.fleet.connections[0]?.error).toMatchObject({
      code: 'denied',
      data: { reason: 'private_address' },
    });
  });

  it('metadata that never ends does not hang the opening', async () => {
    const { engine } = engineWith({ ...OAUTH, timeoutMs: 100 });
    world.override(
      'mcp /.well-known/oauth-protected-resource/mcp',
      (_visit, response) => void response.writeHead(200, { 'content-type': 'application/json' }).write('{'),
    );
    await engine.start();
    expect(engine.fleet.connections[0]?.error).toMatchObject({ code: 'unavailable', server: 'guarded' });
  });

  it('plain http beyond this machine takes no credentials', () => {
    expect(() => createEngine({ servers: { far: { url: 'http://mcp.example/mcp', auth: OAUTH } } })).toThrow(
      /config_invalid.*far.*url/,
    );
  });
});
