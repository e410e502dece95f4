import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineConfig, ServerConfig } from '../../../lib/config/config.ts';
import type { Engine } from '../../../lib/engine/contract.ts';
import { send, type AuthorizationWorld } from '../authorization-world.ts';
import { CA_CERT, CLIENT_CERT, CLIENT_KEY, SERVER_KEY } from '../http-certificates.ts';
import type { BadInput, Bench } from './case.ts';
import { mini, running } from './host.ts';

const OAUTH = { oauth: {} };
const VAULT = { key: Buffer.alloc(32, 7).toString('base64') };
const server = (world: AuthorizationWorld, bench: Bench, more: ServerConfig): ServerConfig => ({
  url: `${world.url}?key=${bench.secrets.query}`,
  type: 'http',
  era: 'legacy',
  headers: { 'x-api-key': bench.secrets.header },
  restart: { baseMs: 60_000 },
  ...more,
});

/** Why the connection does not stand: what the fleet says of it. */
async function refused(
  bench: Bench,
  more: ServerConfig,
  prepare: (world: AuthorizationWorld) => void = () => {},
  config: EngineConfig = {},
): Promise<unknown> {
  const world = await bench.world();
  prepare(world);
  const engine = bench.engine({ ...config, servers: { guarded: server(world, bench, more) } });
  const { connections } = await engine.start();
  return connections[0]?.error;
}

/** An engine that waits for a person, who is sent back to this address. */
async function asked(bench: Bench): Promise<{ engine: Engine; back: URL; world: AuthorizationWorld }> {
  const world = await bench.world();
  const engine = bench.engine({ servers: { guarded: server(world, bench, { auth: OAUTH }) } });
  let url = '';
  engine.on('auth.required', ({ challenge }) => {
    url = String(challenge?.['authorizationUrl']);
  });
  await engine.start();
  return { engine, world, back: new URL(await world.agree(url)) };
}

const answered = async (bench: Bench, change: (back: URL) => void): Promise<unknown> => {
  const { engine, back } = await asked(bench);
  change(back);
  return engine.authorize('guarded', { url: back.href });
};

const robot = (clientSecret: string, more: object = {}) => ({
  clientCredentials: { clientId: 'robot', clientSecret, ...more },
});

const TLS = 'https://127.0.0.1:1/mcp';
const tls = (more: object) => (bench: Bench) => async (): Promise<unknown> => {
  const engine = bench.engine({ servers: { sealed: { url: TLS, tls: more, restart: { baseMs: 60_000 } } } });
  return (await engine.start()).connections[0]?.error;
};

/** A file of the state directory whose content is nonsense. */
const corrupt = (name: string, text: string) => (bench: Bench) => {
  const stateDir = join(bench.directory(), 'state');
  mkdirSync(stateDir, { recursive: true });
  writeFileSync(join(stateDir, name), text);
  return stateDir;
};

const at = (
  name: string,
  code: BadInput['code'],
  says: RegExp,
  run: BadInput['run'],
  of = 'guarded',
): BadInput => ({ name: `credentials: ${name}`, code, says, run, server: of });

export const CREDENTIAL_CASES: readonly BadInput[] = [
  at('a token callback that throws', 'auth_required', /auth\.bearer.*failed/, (b) =>
    refused(b, { auth: { bearer: () => Promise.reject(new Error('the keychain is locked')) } }),
  ),
  at('a token callback that throws at once', 'auth_required', /auth\.bearer.*failed/, (b) =>
    refused(b, {
      auth: {
        bearer: () => {
          throw new Error('the keychain is locked');
        },
      },
    }),
  ),
  at('a token callback that hangs', 'unavailable', /auth\.bearer.*50 ms/, (b) =>
    refused(b, { auth: { bearer: () => new Promise<string>(() => {}), timeoutMs: 50 } }),
  ),
  at('a token callback that gives nothing', 'auth_required', /auth\.bearer/, (b) =>
    refused(b, { auth: { bearer: () => undefined } }),
  ),
  at('a token callback that gives two lines', 'auth_required', /header/, (b) =>
    refused(b, { auth: { bearer: () => `${b.secrets.dynamic}\nx: y` } }),
  ),
  at('a token that the server refuses', 'auth_required', /401|refuse|token/i, (b) =>
    refused(b, { auth: { bearer: b.secrets.bearer } }),
  ),
  at('a callback whose tokens are refused', 'auth_required', /401|refuse|token/i, (b) =>
    refused(b, { auth: { bearer: () => b.secrets.dynamic } }),
  ),
  at('a client secret that is refused', 'auth_required', /invalid_client/, (b) =>
    refused(b, { auth: robot(b.secrets.client) }),
  ),
  at('a client secret that the refusal repeats', 'auth_required', /no robot/, (b) =>
    refused(b, { auth: robot(b.secrets.client) }, (world) =>
      world.override('as /token', (visit, response) => {
        const basic = Buffer.from((visit.headers.authorization ?? '').slice(6), 'base64').toString();
        send(response, 400, {
          error: 'invalid_client',
          error_description: `no robot: ${basic} ${visit.headers.authorization} ${encodeURIComponent(basic)}`,
        });
      }),
    ),
  ),
  at('another issuer than the expected one', 'denied', /idp\.example|issuer/, (b) =>
    refused(b, { auth: robot(b.secrets.client, { expectedIssuer: 'https://idp.example' }) }),
  ),
  at('a private key that is none', 'auth_required', /key|PKCS/i, (b) =>
    refused(b, {
      auth: {
        privateKeyJwt: {
          clientId: 'robot',
          privateKey: `-----BEGIN ${b.secrets.argument}`,
          algorithm: 'ES256',
        },
      },
    }),
  ),
  at('an algorithm that does not exist', ['auth_required', 'config_invalid'], /HS-NONE|alg/i, (b) =>
    refused(b, {
      auth: { privateKeyJwt: { clientId: 'robot', privateKey: CLIENT_KEY, algorithm: 'HS-NONE' } },
    }),
  ),
  at('an assertion callback that throws', 'auth_required', /no grant/, (b) =>
    refused(b, {
      auth: {
        crossApp: {
          clientId: 'robot',
          clientSecret: b.secrets.client,
          assertion: () => Promise.reject(new Error('no grant')),
        },
      },
    }),
  ),
  at('an authorization server that is down', 'unavailable', /503|reached/, (b) =>
    refused(b, { auth: robot(b.secrets.client) }, (world) =>
      world.override('as /token', (_visit, response) => send(response, 503, {})),
    ),
  ),
  at('a token answer that holds no token', 'auth_required', /token|access/i, (b) =>
    refused(b, { auth: robot(b.secrets.client) }, (world) =>
      world.override('as /token', (_visit, response) => send(response, 200, { token_type: 'Bearer' })),
    ),
  ),
  at('a token answer that is a page', 'auth_required', /JSON|token|html/i, (b) =>
    refused(b, { auth: robot(b.secrets.client) }, (world) =>
      world.override(
        'as /token',
        (_visit, response) =>
          void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>'),
      ),
    ),
  ),
  at('metadata of another resource', ['denied', 'auth_required'], /resource/i, (b) =>
    refused(b, { auth: robot(b.secrets.client) }, (world) =>
      world.override('mcp /.well-known/oauth-protected-resource/mcp', (_visit, response) =>
        send(response, 200, { resource: 'https://other.example/mcp', authorization_servers: [world.issuer] }),
      ),
    ),
  ),
  at('metadata of another issuer', 'denied', /issuer/i, (b) =>
    refused(b, { auth: robot(b.secrets.client) }, (world) =>
      world.override('as /.well-known/oauth-authorization-server', (_visit, response) =>
        send(response, 200, {
          issuer: 'https://other.example',
          authorization_endpoint: `${world.issuer}/authorize`,
          token_endpoint: `${world.issuer}/token`,
          response_types_supported: ['code'],
        }),
      ),
    ),
  ),
  at('an answer with another state', 'denied', /state/, (b) =>
    answered(b, (back) => {
      back.searchParams.set('state', 'other');
      back.searchParams.set('code', b.secrets.code);
    }),
  ),
  at('an answer of another issuer', 'denied', /issuer|trusted/, (b) =>
    answered(b, (back) => {
      back.searchParams.set('iss', 'https://other.example');
      back.searchParams.set('code', b.secrets.code);
    }),
  ),
  at('an answer with a code that is none', 'auth_required', /invalid_grant|authorization/, (b) =>
    answered(b, (back) => back.searchParams.set('code', b.secrets.code)),
  ),
  at('a person who says no', 'auth_required', /access_denied|refused/, (b) =>
    answered(b, (back) => {
      back.searchParams.delete('code');
      back.searchParams.set('error', 'access_denied');
    }),
  ),
  at('an answer without code and error', 'invalid_request', /code/, (b) =>
    answered(b, (back) => back.searchParams.delete('code')),
  ),
  at('an answer that is no address', 'invalid_request', /url/, async (b) =>
    (await asked(b)).engine.authorize('guarded', { url: `no address ${b.secrets.code}` }),
  ),
  at('an answer that says nothing', 'invalid_request', /token, url/, async (b) =>
    (await asked(b)).engine.authorize('guarded', {}),
  ),
  at('an answer that is a text', 'invalid_request', /object/, async (b) =>
    (await asked(b)).engine.authorize('guarded', b.secrets.code as never),
  ),
  at('a token where tokens come from elsewhere', 'invalid_request', /authorization server/, async (b) =>
    (await asked(b)).engine.authorize('guarded', { token: b.secrets.given }),
  ),
  at('a given token with a line break', 'auth_required', /header/, async (b) => {
    const world = await b.world();
    const engine = b.engine({ servers: { guarded: server(world, b, {}) } });
    await engine.start();
    return engine.authorize('guarded', { token: `${b.secrets.given}\nx: y` });
  }),
  at(
    'a key of another certificate',
    'config_invalid',
    /tls: .*key/i,
    (b) => tls({ ca: CA_CERT, cert: CLIENT_CERT, key: SERVER_KEY })(b)(),
    'sealed',
  ),
  at(
    'a key that is damaged',
    'config_invalid',
    /tls: /,
    (b) =>
      tls({
        cert: CLIENT_CERT,
        key: `${CLIENT_KEY.slice(0, 80)}\n-----END PRIVATE KEY-----\n`,
        passphrase: b.secrets.passphrase,
      })(b)(),
    'sealed',
  ),
  at(
    'a token store that is damaged',
    ['config_invalid', 'denied'],
    /vault|token|damaged|state/i,
    async (b) => {
      const stateDir = corrupt('tokens.vault', 'nonsense')(b);
      return refused(b, { auth: OAUTH }, undefined, { stateDir, vault: VAULT });
    },
  ),
  at('a token store of another key', 'config_invalid', /key/i, async (b) => {
    const stateDir = b.directory();
    const world = await b.world();
    const open = (key: string): Engine =>
      b.engine({ stateDir, vault: { key }, servers: { guarded: server(world, b, { auth: OAUTH }) } });
    const first = open(VAULT.key);
    let url = '';
    first.on('auth.required', ({ challenge }) => {
      url = String(challenge?.['authorizationUrl']);
    });
    await first.start();
    await first.authorize('guarded', { url: await world.agree(url) });
    await first.stop();
    if (!readdirSync(stateDir).includes('tokens.vault')) throw new Error('nothing was kept');
    const later = open(Buffer.alloc(32, 8).toString('base64'));
    return (await later.start()).connections[0]?.error;
  }),
  {
    name: 'pins that are damaged: nothing is trusted anew',
    code: ['config_invalid', 'denied'],
    says: /cannot be read.*approve/,
    async run(bench) {
      const engine = bench.engine({
        stateDir: corrupt('pins.json', '{"version": 1, "servers": ')(bench),
        pinning: true,
        servers: { s: mini() },
      });
      await engine.start();
      return engine.callTool('s__echo', { message: 'x' });
    },
  },
  {
    name: 'an audit file that another engine has',
    code: 'config_invalid',
    says: /audit/,
    async run(bench) {
      const audit = join(bench.directory(), 'audit.jsonl');
      await running(bench, { audit });
      return running(bench, { audit });
    },
  },
];
