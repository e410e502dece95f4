import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Engine } from '../../lib/engine/contract.ts';
import { engines } from '../support/engines.ts';
import { CA_CERT, CLIENT_CERT, CLIENT_KEY, SERVER_CERT, SERVER_KEY } from '../support/http-certificates.ts';

const make = engines();
let server: Server;
let url: string;
/** Who came through: the name in the certificate. */
let guests: unknown[];

beforeEach(async () => {
  guests = [];
  server = createServer(
    { ca: CA_CERT, cert: SERVER_CERT, key: SERVER_KEY, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        guests.push((request.socket as TLSSocket).getPeerCertificate().subject.CN);
        if (request.method !== 'POST') return void response.writeHead(405).end();
        const message = JSON.parse(Buffer.concat(chunks).toString()) as { id?: number; method: string };
        if (message.id === undefined) return void response.writeHead(202).end();
        const result =
          message.method === 'initialize'
            ? {
                protocolVersion: '2025-11-25',
                capabilities: { tools: {} },
                serverInfo: { name: 'sealed', version: '1' },
              }
            : { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] };
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
      });
    },
  );
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
});
afterEach(
  () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
);

async function started(tls: object | undefined): Promise<Engine> {
  const engine = make({
    servers: {
      sealed: {
        url,
        type: 'http',
        era: 'legacy',
        restart: { baseMs: 60_000 },
        ...(tls === undefined ? {} : { tls }),
      },
    },
  });
  await engine.start();
  return engine;
}

describe('mutual TLS', () => {
  it('shows our certificate to a server that asks for one', async () => {
    const engine = await started({ ca: CA_CERT, cert: CLIENT_CERT, key: CLIENT_KEY });
    expect(engine.connection('sealed').state).toBe('Connected');
    expect((await engine.listTools()).items).toMatchObject([{ originalName: 'echo', server: 'sealed' }]);
    expect(new Set(guests)).toEqual(new Set(['spec client']));
  });

  it.each([
    ['no certificate of ours', { ca: CA_CERT }],
    ['no authority to trust', { cert: CLIENT_CERT, key: CLIENT_KEY }],
    ['nothing configured', undefined],
  ])('fails with %s, and names the server', async (_what, tls) => {
    const engine = await started(tls);
    const [row] = engine.fleet.connections;
    // In TLS 1.3 the refusal of a certificate comes after the handshake: as an alert, or as a socket that is gone.
    expect(row).toMatchObject({
      state: 'Error',
      error: { code: expect.stringMatching(/^(unavailable|connection_lost)$/), server: 'sealed' },
    });
    expect(guests).toEqual([]);
  });

  /** The text with one character of the base64 of its n-th certificate turned into another. */
  const damaged = (bundle: string, n: number): string => {
    let at = -1;
    for (let i = 0; i < n; i++) at = bundle.indexOf('-----BEGIN CERTIFICATE-----', at + 1);
    at += '-----BEGIN CERTIFICATE-----\n'.length;
    return `${bundle.slice(0, at)}A${bundle.slice(at + 1)}`;
  };
  const BUNDLE = `# of the house\n${SERVER_CERT}\nof old\n${CLIENT_CERT}${CA_CERT}`;

  it('trusts every authority of a bundle, whatever stands between them', async () => {
    const engine = await started({ ca: BUNDLE, cert: CLIENT_CERT, key: CLIENT_KEY });
    expect(engine.connection('sealed').state).toBe('Connected');
  });

  it.each([
    ['the first', damaged(BUNDLE, 1), 'certificate 1 of 3 is damaged'],
    ['one in the middle', damaged(BUNDLE, 2), 'certificate 2 of 3 is damaged'],
    ['the last', damaged(BUNDLE, 3), 'certificate 3 of 3 is damaged'],
    ['one that was cut off', BUNDLE.slice(0, -40), 'certificate 3 of 3 has no end'],
    [
      'one without its last line',
      BUNDLE.replace('-----END CERTIFICATE-----', ''),
      'certificate 1 of 3 has no end',
    ],
    [
      'one without its first line',
      BUNDLE.replace('-----BEGIN CERTIFICATE-----', ''),
      'certificate 1 of 3 has no beginning',
    ],
    [
      'one whose first line is damaged',
      BUNDLE.replace('-----BEGIN', '----BEGIN'),
      'certificate 1 of 3 has no beginning',
    ],
    [
      'one that is empty',
      BUNDLE.replace(/(BEGIN CERTIFICATE-----)[^-]+/, '$1\n'),
      'certificate 1 of 3 is damaged',
    ],
    ['a key instead', CLIENT_KEY, 'holds no certificate'],
  ])('refuses a bundle with %s, and says which', (_what, ca, problem) => {
    let refusal: unknown;
    try {
      make({ servers: { sealed: { url, tls: { ca } } } });
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: 'config_invalid', server: 'sealed' });
    const { message } = refusal as Error;
    expect(message).toContain('tls.ca');
    expect(message).toContain(problem);
    for (const line of ca.split('\n').filter((text) => text.length > 40)) expect(message).not.toContain(line);
  });

  it('tells a key that belongs to another certificate before anything is sent', async () => {
    const engine = await started({ ca: CA_CERT, cert: CLIENT_CERT, key: SERVER_KEY });
    const [row] = engine.fleet.connections;
    expect(row).toMatchObject({ state: 'Error', error: { code: 'config_invalid', server: 'sealed' } });
    expect(row?.error?.message).toMatch(/tls: .*key/i);
    expect(JSON.stringify(row?.error)).not.toContain('PRIVATE KEY');
    expect(guests).toEqual([]);
  });
});
