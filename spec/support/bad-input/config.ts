import { loadConfig } from '../../../lib/config/load.ts';
import { createEngine } from '../../../lib/engine/engine.ts';
import { CLIENT_CERT, CLIENT_KEY } from '../http-certificates.ts';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { wrong, type BadInput, type Bench, type Secrets } from './case.ts';

type Written = Readonly<Record<string, unknown>>;

const HTTP = 'https://mcp.example/mcp';
const oauth = (more: Written) => ({ url: HTTP, auth: { oauth: more } });
const machine = (way: string, more: Written) => ({ url: HTTP, auth: { [way]: more } });

/** One server that is wrong in one field; its secrets are those of the bench. */
const SERVERS: ReadonlyArray<readonly [string, (secrets: Secrets) => unknown, RegExp]> = [
  ['command and url', () => ({ command: 'node', url: HTTP }), /command.*url|url.*command/],
  ['neither command nor url', () => ({ args: ['x'] }), /command/],
  ['null for a server', () => null, /null/],
  ['a text for a server', () => 'node server.js', /text|string/],
  ['a list for a server', () => ['node'], /list/],
  ['an empty command', () => ({ command: '' }), /command is empty/],
  ['a number for a command', () => ({ command: 7 }), /command/],
  ['NUL in a command', () => ({ command: 'no\0de' }), /command/],
  ['a text for args', (s) => ({ command: 'node', args: `--token ${s.argument}` }), /args/],
  ['an object among args', (s) => ({ command: 'node', args: ['--token', s.argument, {}] }), /args\[2\]/],
  ['NUL in an argument', (s) => ({ command: 'node', args: [`${s.argument}\0`] }), /args\[0\]/],
  ['a directory that is missing', () => ({ command: 'node', cwd: '/no/such/directory' }), /cwd/],
  ['a file for a directory', () => ({ command: 'node', cwd: process.execPath }), /cwd/],
  ['an env file that is missing', () => ({ command: 'node', envFile: '/no/such/.env' }), /envFile/],
  ['a variable called a=b', (s) => ({ command: 'node', env: { 'a=b': s.env } }), /env/],
  ['an object for a variable', (s) => ({ command: 'node', env: { TOKEN: { value: s.env } } }), /env\.TOKEN/],
  ['NUL in a variable', (s) => ({ command: 'node', env: { TOKEN: `${s.env}\0` } }), /env\.TOKEN/],
  ['an unknown word for inheritEnv', () => ({ command: 'node', inheritEnv: 'some' }), /inheritEnv/],
  ['no address for url', (s) => ({ url: `mcp.example?key=${s.query}` }), /url/],
  ['an empty url', () => ({ url: '' }), /url/],
  ['a file for url', () => ({ url: 'file:///etc/passwd' }), /url/],
  ['ftp for url', (s) => ({ url: `ftp://user:${s.userinfo}@mcp.example/` }), /url/],
  [
    'plain http beyond this machine',
    (s) => ({ url: `http://mcp.example/mcp?key=${s.query}` }),
    /allowInsecure|https/,
  ],
  [
    'plain ws beyond this machine',
    (s) => ({ url: `ws://mcp.example/mcp?key=${s.query}` }),
    /allowInsecure|wss/,
  ],
  ['a type nobody knows', () => ({ url: HTTP, type: 'pigeon' }), /type/],
  [
    'a line break in a header',
    (s) => ({ url: HTTP, headers: { 'x-key': `${s.header}\r\nx-more: 1` } }),
    /headers\.x-key/,
  ],
  ['a header that is no name', (s) => ({ url: HTTP, headers: { 'x key': s.header } }), /headers/],
  [
    'an object for a header',
    (s) => ({ url: HTTP, headers: { authorization: { token: s.header } } }),
    /headers/,
  ],
  ['a list for headers', (s) => ({ url: HTTP, headers: [s.header] }), /headers/],
  ['a text for auth', (s) => ({ url: HTTP, auth: s.bearer }), /auth/],
  ['two ways in auth', (s) => ({ url: HTTP, auth: { bearer: s.bearer, oauth: {} } }), /auth/],
  ['auth beside oauth', (s) => ({ url: HTTP, auth: { bearer: s.bearer }, oauth: {} }), /oauth/],
  ['a line break in a token', (s) => ({ url: HTTP, auth: { bearer: `${s.bearer}\n` } }), /auth\.bearer/],
  ['an empty token', () => ({ url: HTTP, auth: { bearer: '' } }), /auth/],
  ['a number for a token', () => ({ url: HTTP, auth: { bearer: 7 } }), /auth\.bearer/],
  ['dpop for a token of the host', (s) => ({ url: HTTP, auth: { bearer: s.bearer, dpop: true } }), /dpop/],
  ['no time for auth', (s) => ({ url: HTTP, auth: { bearer: s.bearer, timeoutMs: 0 } }), /auth\.timeoutMs/],
  ['an unknown key in auth', (s) => ({ url: HTTP, auth: { bearer: s.bearer, bearers: 1 } }), /bearers/],
  ['a redirect that is no address', () => oauth({ redirectUrl: 'callback' }), /redirectUrl/],
  ['a redirect over plain http', () => oauth({ redirectUrl: 'http://app.example/back' }), /redirectUrl/],
  ['a redirect to javascript', () => oauth({ redirectUrl: 'javascript:alert(1)' }), /redirectUrl/],
  ['a port that does not exist', () => oauth({ callbackPort: 70_000 }), /callbackPort/],
  ['a client secret without its id', (s) => oauth({ clientSecret: s.client }), /clientId/],
  [
    'client metadata over http',
    () => oauth({ clientMetadataUrl: 'http://app.example/c.json' }),
    /clientMetadataUrl/,
  ],
  ['no function for onRedirect', () => oauth({ onRedirect: 'open' }), /onRedirect/],
  [
    'client credentials without id',
    (s) => machine('clientCredentials', { clientSecret: s.client }),
    /clientId/,
  ],
  [
    'client credentials without secret',
    () => machine('clientCredentials', { clientId: 'a' }),
    /clientSecret/,
  ],
  [
    'an unknown key beside a secret',
    (s) => machine('clientCredentials', { clientId: 'a', clientSecret: s.client, secret: s.client }),
    /secret/,
  ],
  [
    'no key for privateKeyJwt',
    () => machine('privateKeyJwt', { clientId: 'a', algorithm: 'ES256' }),
    /privateKey/,
  ],
  ['no algorithm', (s) => machine('privateKeyJwt', { clientId: 'a', privateKey: s.key }), /algorithm/],
  [
    'a number for a private key',
    () => machine('privateKeyJwt', { clientId: 'a', privateKey: 7, algorithm: 'ES256' }),
    /privateKey/,
  ],
  [
    'cross-app without a grant',
    (s) => machine('crossApp', { clientId: 'a', clientSecret: s.client }),
    /identityProvider/,
  ],
  [
    'cross-app with two',
    (s) =>
      machine('crossApp', {
        clientId: 'a',
        clientSecret: s.client,
        assertion: () => 'x',
        identityProvider: {},
      }),
    /identityProvider/,
  ],
  [
    'an identity provider without address',
    (s) =>
      machine('crossApp', {
        clientId: 'a',
        clientSecret: s.client,
        identityProvider: { clientId: 'b', idToken: s.bearer },
      }),
    /tokenEndpoint/,
  ],
  ['an object that is no provider', () => ({ url: HTTP, auth: new Date() }), /auth/],
  ['a certificate without its key', () => ({ url: HTTP, tls: { cert: CLIENT_CERT } }), /tls\.key/],
  ['a key without its certificate', () => ({ url: HTTP, tls: { key: CLIENT_KEY } }), /tls\.cert/],
  [
    'a key that is no PEM',
    (s) => ({ url: HTTP, tls: { cert: CLIENT_CERT, key: s.key.replaceAll('-', '') } }),
    /tls\.key/,
  ],
  [
    'a key file that is missing',
    () => ({ url: HTTP, tls: { certFile: '/no/such.pem', keyFile: '/no/such.key' } }),
    /tls\.certFile|tls\.keyFile/,
  ],
  ['an authority that is a number', () => ({ url: HTTP, tls: { ca: 7 } }), /tls\.ca/],
  [
    'a certificate nobody checks',
    () => ({ url: HTTP, tls: { rejectUnauthorized: false } }),
    /rejectUnauthorized/,
  ],
  ['an unknown key in tls', (s) => ({ url: HTTP, tls: { pass: s.passphrase } }), /tls\.pass/],
  ['a number for a passphrase', () => ({ url: HTTP, tls: { passphrase: 7 } }), /passphrase/],
  ['no replicas', () => ({ replicas: [] }), /replicas/],
  ['a replica that is wrong', () => ({ replicas: [{ url: HTTP }, { command: '' }] }), /replicas\[1\]/],
  ['a time that no timer can hold', () => ({ command: 'node', timeoutMs: 2 ** 31 }), /timeoutMs/],
  ['no time', () => ({ command: 'node', timeoutMs: 0 }), /timeoutMs/],
  ['a time that is no number', () => ({ command: 'node', startTimeoutMs: NaN }), /startTimeoutMs/],
  ['a text for a time', () => ({ command: 'node', startTimeoutMs: '5 s' }), /startTimeoutMs/],
  ['an era that does not exist', () => ({ command: 'node', era: 'future' }), /era/],
  ['a strategy that does not exist', () => ({ command: 'node', routing: { strategy: 'best' } }), /strategy/],
  ['no requests at once', () => ({ command: 'node', maxInFlight: 0 }), /maxInFlight/],
  ['a text for lazy', () => ({ command: 'node', lazy: 'yes' }), /lazy/],
  ['a limit nobody knows', () => ({ command: 'node', limits: { messages: 1 } }), /limits/],
  ['a negative limit', () => ({ command: 'node', limits: { messageBytes: -1 } }), /messageBytes/],
  ['a negative time to live', () => ({ command: 'node', cache: { lists: { ttlMs: -1 } } }), /ttlMs/],
  ['a text for restart', () => ({ command: 'node', restart: 'always' }), /restart/],
  ['no function for server', () => ({ server: {} }), /server/],
  ['no function for transport', () => ({ transport: {} }), /transport/],
  ['a probe that never waits', () => ({ command: 'node', probe: { intervalMs: 0 } }), /intervalMs/],
];

const GOOD = { command: process.execPath, args: ['--version'] };

/** A configuration whose one server is right. */
const ENGINES: ReadonlyArray<readonly [string, (bench: Bench) => Written, RegExp]> = [
  ['a naming nobody knows', () => ({ naming: 'loud' }), /naming/],
  ['a word for policy', () => ({ policy: 'allow' }), /policy/],
  ['a function for policy', () => ({ policy: () => true }), /policy/],
  ['a rule without effect', () => ({ policy: [{ tools: ['x'] }] }), /effect/],
  ['a rule with an unknown key', () => ({ policy: [{ effect: 'allow', tool: 'x' }] }), /tool/],
  ['an unknown option of policy', () => ({ policy: { rules: [], allow: true } }), /policy\.allow/],
  ['a policy without rules', () => ({ policy: { roles: {} } }), /policy\.rules/],
  ['an audit file in no directory', () => ({ audit: '/no/such/directory/audit.jsonl' }), /audit/],
  ['audit without a place', () => ({ audit: true }), /audit|stateDir/],
  ['a vault without a key', (b) => ({ stateDir: b.directory(), vault: {} }), /vault/],
  ['no function for host.sample', () => ({ host: { sample: 'yes' } }), /host\.sample/],
  ['no list for interceptors', () => ({ interceptors: {} }), /interceptors/],
  ['no function among interceptors', () => ({ interceptors: [7] }), /interceptors/],
  ['no connections', () => ({ pool: { maxConnections: 0 } }), /maxConnections/],
  ['a number for the principal', () => ({ principal: 7 }), /principal/],
  ['a number for stateDir', () => ({ stateDir: 7 }), /stateDir/],
  ['a negative grace time', () => ({ stop: { graceMs: -1 } }), /graceMs/],
  ['a text for secure', () => ({ secure: 'yes' }), /secure/],
  ['a clock that is none', () => ({ clock: {} }), /clock/],
];

/** Files: what stands in them, and what is said. */
const FILES: ReadonlyArray<readonly [string, (secrets: Secrets) => string, RegExp]> = [
  [
    'is cut off',
    (s) => `{ "mcpServers": { "s": { "url": "${HTTP}", "headers": { "x-key": "${s.header}"`,
    /line 1/,
  ],
  ['is a list', () => '[]', /list/],
  ['is empty', () => '', /empty|line 1|object/],
  [
    'has a key twice',
    () => '{"mcpServers":{"s":{"command":"a"},"s":{"command":"b"}}}',
    /twice|duplicate|"s"/,
  ],
  [
    'names a variable that is not set',
    () => '{"mcpServers":{"s":{"command":"${env:NO_SUCH_VARIABLE_HERE}"}}}',
    /NO_SUCH_VARIABLE_HERE/,
  ],
  [
    'asks for an input nobody gives',
    () =>
      '{"inputs":[{"id":"token","type":"promptString"}],"servers":{"s":{"url":"https://mcp.example/","headers":{"x":"${input:token}"}}}}',
    /token/,
  ],
];

export const CONFIG_CASES: readonly BadInput[] = [
  ...SERVERS.map(([name, server, says]): BadInput => ({
    name: `a configuration has ${name}`,
    code: 'config_invalid',
    server: 's',
    says,
    run: ({ secrets }) => createEngine(wrong({ servers: { s: server(secrets), carrier: carrier(secrets) } })),
  })),
  ...SERVERS.slice(0, 10).map(([name, server, says]): BadInput => ({
    name: `a server that is added has ${name}`,
    code: 'config_invalid',
    server: 's',
    says,
    run: (bench) => bench.engine({ servers: {} }).add('s', wrong(server(bench.secrets))),
  })),
  ...ENGINES.map(([name, config, says]): BadInput => ({
    name: `a configuration has ${name}`,
    code: 'config_invalid',
    says,
    run: (bench) =>
      bench.engine(wrong({ ...config(bench), servers: { good: GOOD, carrier: carrier(bench.secrets) } })),
  })),
  ...FILES.map(([name, text, says]): BadInput => ({
    name: `a file ${name}`,
    code: 'config_invalid',
    says,
    async run(bench) {
      const path = join(bench.directory(), 'mcp.json');
      writeFileSync(path, text(bench.secrets));
      return bench.engine(await loadConfig(path, { env: {} }));
    },
  })),
];

/** A server that is right, never started, and full of secrets. */
function carrier(s: Secrets): Written {
  return {
    lazy: true,
    url: `https://user:${s.userinfo}@mcp.example/mcp?key=${s.query}`,
    headers: { 'x-api-key': s.header },
    auth: { clientCredentials: { clientId: 'robot', clientSecret: s.client } },
    tls: { cert: CLIENT_CERT, key: CLIENT_KEY, passphrase: s.passphrase },
  };
}
