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

  it('tells a key that belongs to another certificate before anything is sent', async () => {
    const engine = await started({ ca: CA_CERT, cert: CLIENT_CERT, key: SERVER_KEY });
    const [row] = engine.fleet.connections;
    expect(row).toMatchObject({ state: 'Error', error: { code: 'config_invalid', server: 'sealed' } });
    expect(row?.error?.message).toMatch(/tls: .*key/i);
    expect(JSON.stringify(row?.error)).not.toContain('PRIVATE KEY');
    expect(guests).toEqual([]);
  });
});
