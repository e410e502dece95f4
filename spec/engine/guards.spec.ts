import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import { MAX_ERROR_TEXT } from '../../lib/core/errors.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import {
  createAuthorizationWorld,
  createCanary,
  send,
  type AuthorizationWorld,
} from '../support/authorization-world.ts';
import { badServers, json } from '../support/bad-http.ts';
import { engines, hostHearsNothing } from '../support/engines.ts';

hostHearsNothing();
const make = engines();
const servers = badServers();
let world: AuthorizationWorld;
beforeEach(async () => {
  // The SDK tells there why it asks again.
  jest.spyOn(console, 'warn').mockImplementation(() => {});
  world = await createAuthorizationWorld();
});
afterEach(() => world.close());

const OAUTH = { oauth: { redirectUrl: 'http://localhost:7777/callback' } };
const METADATA = 'mcp /.well-known/oauth-protected-resource/mcp';
const ISSUER = 'as /.well-known/oauth-authorization-server';

async function opened(server: ServerConfig = {}): Promise<Engine> {
  const engine = make({
    servers: {
      guarded: {
        url: world.url,
        type: 'http',
        era: 'legacy',
        auth: OAUTH,
        headers: { 'x-api-key': 'k3y-of-the-server' },
        restart: { baseMs: 60_000 },
        ...server,
      },
    },
  });
  await engine.start();
  return engine;
}
const errorOf = (engine: Engine) => engine.fleet.connections[0]?.error;

const challenge = (target: string): void =>
  world.override('mcp /mcp', (_visit, response) =>
    send(response, 401, {}, { 'www-authenticate': `Bearer resource_metadata="${target}"` }),
  );

/**
 * Addresses as a server may write them in the hope that nobody reads them so. Loopback is not among them: who configures
 * a server on this machine may have its authorization server here too; `http-guard.spec.ts` has the rest.
 */
const SPELLINGS = [
  'https://10.0.0.1/x',
  'https://10.1/x',
  'https://167772161/x',
  'https://012.0.0.1/x',
  'https://01200000001/x',
  'https://0x0a000001/x',
  'https://0xa.0.0.1/x',
  'https://10.0.0.1./x',
  'https://10.0.0.1:8443/x',
  'https://[::ffff:10.0.0.1]/x',
  'https://[::ffff:a00:1]/x',
  'https://[64:ff9b::a00:1]/x',
  'https://[2002:a00:1::]/x',
  'https://[fe80::1]/x',
  'https://[fd00::1]/x',
  'https://172.16.9.9/x',
  'https://192.168.0.1/x',
  'https://100.64.0.1/x',
  'https://169.254.169.254/latest/meta-data',
  'https://2852039166/latest/meta-data',
  'https://0.0.0.0/x',
];

describe('what a server names', () => {
  it.each(SPELLINGS)('a private address is refused however it is spelt: %s', async (target) => {
    challenge(target);
    const engine = await opened();
    expect(errorOf(engine)).toMatchObject({
      code: 'denied',
      server: 'guarded',
      data: { reason: 'private_address' },
    });
    // Not there, and not by way of a guess at another document.
    expect(world.asked('/token')).toEqual([]);
  });

  it.each(SPELLINGS)('an authorization server at a private address is not asked: %s', async (target) => {
    world.override(METADATA, (_visit, response) =>
      send(response, 200, { resource: world.url, authorization_servers: [target] }),
    );
    const engine = await opened();
    expect(errorOf(engine)).toMatchObject({
      code: 'denied',
      server: 'guarded',
      data: { reason: 'private_address' },
    });
  });

  it('another port of this machine is another origin: its metadata gets no header of ours', async () => {
    const canary = await createCanary();
    try {
      challenge(`${canary.origin}/metadata`);
      await opened();
      expect(canary.visits.filter(({ headers }) => headers['x-api-key'] !== undefined)).toEqual([]);
      expect(canary.visits.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
    } finally {
      await canary.close();
    }
  });

  it.each([301, 302, 307, 308])(
    'a redirect (%i) of metadata to a private address is not followed',
    async (status) => {
      world.override(METADATA, (_visit, response) =>
        send(response, status, undefined, { location: 'http://169.254.169.254/latest/meta-data' }),
      );
      const engine = await opened();
      expect(errorOf(engine)).toMatchObject({ server: 'guarded' });
      expect(world.visits.some(({ path }) => path.includes('meta-data'))).toBe(false);
      expect(world.grants()).toEqual([]);
    },
  );

  it.each(['javascript:alert(1)', 'http://mcp.example/authorize', 'file:///etc/passwd', 'data:text/html,x'])(
    'a person is sent to no page but https: %s',
    async (endpoint) => {
      world.override(ISSUER, (_visit, response) =>
        send(response, 200, {
          issuer: world.issuer,
          authorization_endpoint: endpoint,
          token_endpoint: `${world.issuer}/token`,
          registration_endpoint: `${world.issuer}/register`,
          response_types_supported: ['code'],
          code_challenge_methods_supported: ['S256'],
        }),
      );
      const engine = await opened();
      const error = errorOf(engine);
      expect(error).toMatchObject({ server: 'guarded' });
      expect(JSON.stringify(error?.data ?? {})).not.toContain('authorizationUrl');
    },
  );

  it('a token endpoint beyond this machine takes no secret over plain http', async () => {
    world.override(ISSUER, (_visit, response) =>
      send(response, 200, {
        issuer: world.issuer,
        authorization_endpoint: `${world.issuer}/authorize`,
        token_endpoint: 'http://as.example/token',
        response_types_supported: ['code'],
        grant_types_supported: ['client_credentials'],
        token_endpoint_auth_methods_supported: ['client_secret_basic'],
      }),
    );
    const engine = await opened({
      auth: { clientCredentials: { clientId: 'robot', clientSecret: 's3cret-of-the-robot' } },
    });
    expect(errorOf(engine)).toMatchObject({ code: 'denied', server: 'guarded' });
  });
});

describe('what is fetched for an authorization', () => {
  const MUCH = 'x'.repeat(20_000_000);

  it.each([
    ['the metadata of the resource', METADATA],
    ['the metadata of the authorization server', ISSUER],
    ['the answer of the registration', 'as /register'],
  ])('is bounded in size: %s', async (_what, place) => {
    world.override(place, (_visit, response) => {
      response.on('error', () => {});
      response.writeHead(200, { 'content-type': 'application/json' }).end(`{"x":"${MUCH}"}`);
    });
    const engine = await opened();
    expect(errorOf(engine)).toMatchObject({ code: 'limit_exceeded', server: 'guarded' });
  });

  it.each([
    ['the metadata of the resource', METADATA],
    ['the metadata of the authorization server', ISSUER],
    ['the answer of the registration', 'as /register'],
  ])('is bounded in time: %s', async (_what, place) => {
    world.override(place, (_visit, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{');
    });
    const engine = await opened({ auth: { ...OAUTH, timeoutMs: 150 } });
    expect(errorOf(engine)).toMatchObject({ code: 'unavailable', server: 'guarded' });
  });

  it('is told in an error of 2 KB at most, on one line', async () => {
    world.override('as /token', (_visit, response) =>
      send(response, 400, {
        error: 'invalid_client',
        error_description: `\u001b[31m${'much to say\n'.repeat(10_000)}`,
      }),
    );
    const engine = await opened({
      auth: { clientCredentials: { clientId: 'robot', clientSecret: 's3cret-of-the-robot' } },
    });
    const message = errorOf(engine)?.message ?? '';
    expect(message).toContain('much to say');
    expect(message.length).toBeLessThan(MAX_ERROR_TEXT + 200);
    // eslint-disable-next-line no-control-regex -- control characters are what this looks for
    expect(message).not.toMatch(/[\u0000-\u001f]/);
  });
});

describe('what a server says of itself', () => {
  it('two servers of one name and one cache scope share nothing', async () => {
    const lists = { honest: 0, evil: 0 };
    const serve = (who: 'honest' | 'evil'): Promise<string> =>
      servers.http((message, response) => {
        const answer = (result: object): boolean => {
          json(response, { jsonrpc: '2.0', id: message['id'], result });
          return true;
        };
        if (message['method'] === 'tools/list') {
          lists[who] += 1;
          return answer({
            tools: [{ name: 'tell', description: who, inputSchema: { type: 'object' } }],
            ttlMs: 60_000,
            cacheScope: 'public',
          });
        }
        if (message['method'] === 'resources/read')
          return answer({
            contents: [{ uri: 'mini://a', text: who }],
            ttlMs: 60_000,
            cacheScope: 'public',
          });
        return message['method'] === 'tools/call' && answer({ content: [{ type: 'text', text: who }] });
      });
    const cache = { resources: { ttlMs: 60_000 } };
    const engine = make({
      servers: {
        evil: { url: await serve('evil'), type: 'http', cache },
        honest: { url: await serve('honest'), type: 'http', cache },
      },
    });
    await engine.start();
    const { items } = await engine.listTools();
    expect(items.map((item) => [item.server, item['description']])).toEqual([
      ['evil', 'evil'],
      ['honest', 'honest'],
    ]);
    expect(lists).toEqual({ evil: 1, honest: 1 });
    for (const server of ['evil', 'honest']) {
      for (let i = 0; i < 2; i += 1)
        expect(await engine.readResource('mini://a', { servers: [server] })).toMatchObject({
          contents: [{ text: server }],
        });
      expect(await engine.callTool(`${server}__tell`)).toMatchObject({ content: [{ text: server }] });
    }
  });
});
