import { afterEach, describe, expect, it } from '@jest/globals';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import {
  createConnector,
  createGuardedFetch,
  isPrivateAddress,
} from '../../../lib/mcp/transports/http-guard.ts';
import { createStreamableHttpChannel } from '../../../lib/mcp/transports/streamable-http.ts';
import {
  CA_CERT,
  CLIENT_CERT,
  CLIENT_KEY,
  SERVER_CERT,
  SERVER_KEY,
} from '../../support/http-certificates.ts';
import {
  createHttpFixture,
  failure,
  limits,
  openChannel,
  request,
  stream,
  text,
  type ChannelChange,
  type HttpFixture,
  type Script,
} from '../../support/http-fixture.ts';

const fixtures: HttpFixture[] = [];
const closers: (() => Promise<void>)[] = [];

async function serve(script: Script): Promise<HttpFixture> {
  const fixture = await createHttpFixture(script);
  fixtures.push(fixture);
  return fixture;
}

function guard(
  change: Partial<Parameters<typeof createGuardedFetch>[0]> = {},
): ReturnType<typeof createGuardedFetch>['fetch'] {
  const guarded = createGuardedFetch({
    server: 'alpha',
    limits: limits(),
    origin: 'https://mcp.example',
    ...change,
  });
  closers.push(() => guarded.close());
  return guarded.fetch;
}

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const fixture of fixtures.splice(0)) {
    await fixture.until(() => fixture.sockets === 0);
    await fixture.close();
  }
});

describe('private addresses', () => {
  it.each([
    '127.0.0.1',
    '127.9.9.9',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '198.18.0.1',
    '::1',
    '::',
    'fe80::1',
    'fe80::1%eth0',
    'fc00::1',
    'fd12::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '::127.0.0.1',
  ])('%s is one', (address) => {
    expect(isPrivateAddress(address)).toBe(true);
  });

  it.each(['1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8', 'example.com', ''])(
    '%s is none',
    (address) => {
      expect(isPrivateAddress(address)).toBe(false);
    },
  );
});

describe('guarded fetch', () => {
  it.each([
    'https://169.254.169.254/latest/meta-data',
    'https://127.0.0.1:8443/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::1]/',
    'https://localhost/',
  ])('does not go to %s', async (url) => {
    expect(await failure(guard()(url))).toMatchObject({
      code: 'denied',
      server: 'alpha',
      data: { reason: 'private_address' },
    });
  });

  it.each(['http://example.com/', 'http://127.0.0.1/', 'ftp://example.com/', 'file:///etc/passwd'])(
    'does not take %s',
    async (url) => {
      expect(await failure(guard()(url))).toMatchObject({ code: 'denied', data: { reason: 'insecure_url' } });
    },
  );

  it('gives configured headers to the configured origin alone', async () => {
    const own = await serve((_seen, response) => text(response, 200, 'own'));
    const other = await serve((_seen, response) => text(response, 200, 'other'));
    const fetch = guard({ origin: own.url.origin, headers: { 'x-api-key': 'k', accept: 'text/plain' } });
    expect(await (await fetch(own.url)).text()).toBe('own');
    expect(
      await (
        await fetch(new URL('/token', other.url), {
          method: 'POST',
          body: '{}',
          headers: { accept: 'application/json' },
        })
      ).text(),
    ).toBe('other');
    expect(own.seen[0]?.headers).toMatchObject({ 'x-api-key': 'k', accept: 'text/plain' });
    expect(other.seen[0]?.headers).not.toHaveProperty('x-api-key');
    expect(other.seen[0]?.headers).toMatchObject({ accept: 'application/json' });
  });

  it('hands redirects back', async () => {
    const { url, seen } = await serve((_seen, response) =>
      text(response, 302, '', { location: 'https://elsewhere.example/' }),
    );
    const response = await guard({ origin: url.origin })(url, { redirect: 'follow' });
    expect([response.status, response.headers.get('location'), response.url]).toEqual([
      302,
      'https://elsewhere.example/',
      url.href,
    ]);
    expect(seen).toHaveLength(1);
  });

  it.each([
    ['plain', (body: Buffer) => body, {}],
    ['compressed', gzipSync, { 'content-encoding': 'gzip' }],
  ] as const)('cuts a %s body at a megabyte', async (_name, pack, headers) => {
    const { url } = await serve((_seen, response) =>
      response.writeHead(200, headers).end(pack(Buffer.alloc(3_000_000, 0x20))),
    );
    const response = await guard({ origin: url.origin })(url);
    expect(await failure(response.text())).toMatchObject({ code: 'limit_exceeded', delivery: 'answered' });
  });

  it('reads what is within the limit, with its status and headers', async () => {
    const { url } = await serve((_seen, response) => text(response, 404, '{"a":1}', { 'x-a': 'b' }));
    const response = await guard({ origin: url.origin })(url);
    expect([response.status, response.ok, response.headers.get('x-a'), await response.json()]).toEqual([
      404,
      false,
      'b',
      { a: 1 },
    ]);
  });

  it('takes answers without a body', async () => {
    const { url } = await serve((_seen, response) => response.writeHead(204).end());
    expect((await guard({ origin: url.origin })(url)).status).toBe(204);
  });

  it('does not wait for ever, neither for a head nor for a body', async () => {
    const { url } = await serve((seen, response) => void (seen.path === '/mcp' && stream(response)));
    const fetch = guard({ origin: url.origin, limits: limits({ requestIdleMs: 300 }) });
    const response = await fetch(url);
    expect(await failure(response.text())).toBeInstanceOf(Error);
    expect(await failure(fetch(new URL('/silent', url)))).toMatchObject({
      cause: { code: 'UND_ERR_HEADERS_TIMEOUT' },
    });
  });

  it('stops when its caller does', async () => {
    const { url } = await serve(() => {});
    const controller = new AbortController();
    const pending = failure(guard({ origin: url.origin })(url, { signal: controller.signal }));
    controller.abort();
    expect((await pending).name).toBe('AbortError');
  });

  it('lets further private hosts through where it was told to', async () => {
    const { url } = await serve((_seen, response) => text(response, 200, 'in'));
    const fetch = guard({ allowPrivate: (host) => host === '127.0.0.1' });
    expect(await (await fetch(url)).text()).toBe('in');
    expect(await failure(fetch('https://10.0.0.1/'))).toMatchObject({ code: 'denied' });
  });
});

describe('TLS', () => {
  async function secure(mutual: boolean): Promise<{ url: URL; names: (string | undefined)[] }> {
    const names: (string | undefined)[] = [];
    const server: Server = createServer(
      { cert: SERVER_CERT, key: SERVER_KEY, ca: CA_CERT, requestCert: mutual, rejectUnauthorized: mutual },
      (incoming, response) => {
        names.push((incoming.socket as TLSSocket).getPeerCertificate().subject?.CN as string | undefined);
        incoming.resume();
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end('{"jsonrpc":"2.0","id":1,"result":{}}');
      },
    );
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    closers.push(
      () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    );
    return { url: new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`), names };
  }

  async function call(url: URL, tls: ChannelChange['tls']): Promise<Error | 'answered'> {
    const { channel, receiver } = await openChannel(createStreamableHttpChannel, url, { tls });
    try {
      await channel.send(request(1));
      await receiver.until(() => receiver.messages.length === 1);
      return 'answered';
    } catch (error) {
      return error as Error;
    } finally {
      await channel.close(0);
    }
  }

  it('trusts nobody it was not told to trust', async () => {
    const { url } = await secure(false);
    expect(await call(url, undefined)).toMatchObject({ code: 'unavailable', delivery: 'unsent' });
    expect(await call(url, { ca: CA_CERT })).toBe('answered');
    expect(await call(url, { ca: [CA_CERT], servername: 'spec.test' })).toBe('answered');
    expect(await call(url, { ca: CA_CERT, servername: 'other.test' })).toMatchObject({
      code: 'unavailable',
      delivery: 'unsent',
    });
  });

  it('shows its own certificate', async () => {
    const { url, names } = await secure(true);
    expect(await call(url, { ca: CA_CERT, cert: CLIENT_CERT, key: CLIENT_KEY })).toBe('answered');
    expect(names).toEqual(['spec client']);
    // The refusal comes after the handshake of TLS 1.3, sometimes as nothing but a closed socket.
    expect(await call(url, { ca: CA_CERT })).toMatchObject({
      code: expect.stringMatching(/^(?:unavailable|connection_lost)$/),
    });
  });

  it('is checked before anything is opened', () => {
    expect(() =>
      createConnector({ allowPrivate: true, server: 'alpha', tls: { cert: 'no PEM', key: 'no PEM' } }),
    ).toThrow(expect.objectContaining({ code: 'config_invalid', server: 'alpha' }));
  });
});
