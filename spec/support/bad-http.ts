import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach } from '@jest/globals';
import type { Json } from '../../lib/core/json-rpc.ts';
import { createMiniServer } from './mini-server.mjs';

/** Deals with a message in its own way (true), or leaves it to the mini server. */
export type Fault = (message: Json, response: ServerResponse, request: IncomingMessage) => boolean;

/** Starts servers in the spec's own process that are closed after it, their sockets cut. */
export function badServers(): {
  /** The mini server on Streamable HTTP, without sessions and streams, with one fault. The answer is its URL. */
  http(fault: Fault): Promise<string>;
  /** Whatever a socket shall do; the answer is the port. */
  tcp(onSocket: (socket: Socket) => void): Promise<number>;
  /** At once, for specs that look at what is left. */
  close(): void;
} {
  const closing: Array<() => void> = [];
  const close = (): void => {
    for (const end of closing.splice(0)) end();
  };
  afterEach(close);

  const tcp = async (onSocket: (socket: Socket) => void): Promise<number> => {
    const sockets = new Set<Socket>();
    const server = createTcpServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      onSocket(socket);
    });
    closing.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  };

  const http = async (fault: Fault): Promise<string> => {
    const mini = createMiniServer({ revision: '2025-11-25', push: () => {} });
    const server = createServer((request, response) => {
      response.on('error', () => {});
      if (request.method !== 'POST') {
        response.writeHead(405).end();
        return;
      }
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const message = JSON.parse(Buffer.concat(chunks).toString()) as Json;
        if (fault(message, response, request)) return;
        if (message['id'] === undefined || message['method'] === undefined) {
          response.writeHead(202).end();
          void mini.receive(message, () => {});
        } else void mini.receive(message, (answer) => json(response, answer));
      });
    });
    closing.push(() => {
      server.close();
      server.closeAllConnections();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  };

  return { http, tcp, close };
}

export function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

export function isCall(message: Json, name: string): boolean {
  return message['method'] === 'tools/call' && (message['params'] as Json)['name'] === name;
}
