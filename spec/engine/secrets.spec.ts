import { describe, expect, it } from '@jest/globals';
import { normalise } from '../../lib/config/normalise.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import { keysOf, recentSecrets, secretsOf } from '../../lib/engine/secrets.ts';
import { judged, secretsWritten } from '../../lib/engine/written-secrets.ts';
import { createRedactor } from '../../lib/security/redaction.ts';
import { CLIENT_CERT, CLIENT_KEY } from '../support/http-certificates.ts';

const SERVERS = {
  program: {
    command: 'node',
    args: [
      '--token',
      'argument-secret',
      '--api-key=equals-secret',
      '--verbose',
      'plain words',
      '/a/path/of/32',
    ],
    env: { API_TOKEN: 'env-secret', LOOKS: 'abcdef0123456789abcdef', HOME: '/home/someone' },
  },
  web: {
    url: 'https://user-name:pass%20word@mcp.example/mcp?key=query-secret',
    headers: { 'x-api-key': 'key-secret', 'accept-language': 'text/plain' },
  },
  bearer: {
    url: 'https://mcp.example/mcp',
    headers: { authorization: 'Bearer header-secret' },
  },
  client: {
    url: 'https://mcp.example/mcp',
    auth: { clientCredentials: { clientId: 'robot-of-ours', clientSecret: 'client-secret' } },
    tls: { cert: CLIENT_CERT, key: CLIENT_KEY, passphrase: 'passphrase' },
  },
  jwt: {
    url: 'https://mcp.example/mcp',
    auth: {
      privateKeyJwt: {
        clientId: 'robot-of-ours',
        algorithm: 'ES256',
        privateKey: { kty: 'EC', crv: 'P-256', x: 'public-x', y: 'public-y', d: 'private-d' },
      },
    },
  },
};
const SECRET = [
  'argument-secret',
  'equals-secret',
  'env-secret',
  'abcdef0123456789abcdef',
  'user-name',
  'pass word',
  'query-secret',
  'header-secret',
  'key-secret',
  'client-secret',
  'passphrase',
  'private-d',
  CLIENT_KEY,
  CLIENT_KEY.split('\n')[1] ?? '',
];
const HARMLESS = [
  'plain words',
  '/a/path/of/32',
  '/home/someone',
  'text/plain',
  'robot-of-ours',
  'public-x',
  CLIENT_CERT,
];

describe('the secrets of a configuration', () => {
  const config = normalise({ servers: SERVERS });

  it.each(SECRET)('are found as they are written and as they are read: %s', (secret) => {
    expect(config.servers.flatMap(secretsOf)).toContain(secret);
    expect(secretsWritten({ servers: SERVERS })).toContain(secret);
  });

  it.each(HARMLESS)('are nothing else: %s', (text) => {
    expect(config.servers.flatMap(secretsOf)).not.toContain(text);
    expect(secretsWritten({ servers: SERVERS })).not.toContain(text);
  });

  it('are also the keys of the engine', () => {
    const key = Buffer.alloc(32, 7).toString('base64');
    expect(keysOf(normalise({ stateDir: '/tmp/x', vault: { key } }))).toContain(key);
  });

  it('are looked for in what is no configuration at all, without end or harm', () => {
    const loop: Record<string, unknown> = { token: 'loop-secret' };
    loop['self'] = loop;
    const getter = Object.defineProperty({}, 'token', {
      enumerable: true,
      get() {
        throw new Error('no');
      },
    });
    let deep: unknown = 'end';
    for (let i = 0; i < 10_000; i += 1) deep = { deep };
    expect(secretsWritten([loop, getter, deep, null, undefined, 7, Symbol('x'), () => {}])).toEqual([
      'loop-secret',
    ]);
  });
});

describe('a refusal of what was written', () => {
  it('repeats no secret of it, in the message, the data, the cause and the stack', () => {
    const refuse = (): never => {
      const cause = new Error('while reading query-secret');
      throw new TroupeError('config_invalid', 'url https://x/?key=query-secret is wrong', {
        server: 'web',
        data: { field: 'url', given: ['query-secret'] },
        cause,
      });
    };
    let error: TroupeError | undefined;
    try {
      judged({ servers: SERVERS }, refuse);
    } catch (thrown) {
      error = thrown as TroupeError;
    }
    expect(error).toMatchObject({ code: 'config_invalid', server: 'web', data: { field: 'url' } });
    const all = [
      error?.message,
      error?.stack,
      JSON.stringify(error),
      String((error?.cause as Error | undefined)?.stack),
    ];
    expect(all.join('\n')).not.toContain('query-secret');
    expect(error?.message).toContain('[redacted]');
  });

  it('is the error itself where there is nothing to take out', () => {
    const error = new TroupeError('config_invalid', 'no');
    expect(() =>
      judged({}, () => {
        throw error;
      }),
    ).toThrow(error);
    expect(judged({}, () => 7)).toBe(7);
  });
});

describe('secrets obtained at run time', () => {
  it('are the last sixteen of each server', () => {
    const redactor = createRedactor();
    const remember = recentSecrets(redactor);
    const token = (i: number): string => `token-${String(i).padStart(4, '0')}`;
    remember('quiet', 'token-of-quiet');
    for (let i = 0; i < 100; i += 1) remember('busy', token(i));
    remember('busy', token(99));
    expect(redactor.text(`${token(83)} ${token(84)} ${token(99)} token-of-quiet`)).toBe(
      `${token(83)} [redacted] [redacted] [redacted]`,
    );
  });

  it('do not make the redactor forget what is configured', () => {
    const redactor = createRedactor(['configured-token']);
    const remember = recentSecrets(redactor);
    remember('s', 'configured-token');
    for (let i = 0; i < 20; i += 1) remember('s', `another-token-${i}`);
    expect(redactor.text('configured-token')).toBe('[redacted]');
  });
});
