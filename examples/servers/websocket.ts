import type { AddressInfo } from 'node:net';
import { McpServer, type JSONRPCMessage, type Transport } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import { z } from 'zod';

/** The server's end of one socket, as an MCP transport. */
class SocketTransport implements Transport {
  readonly #socket: WebSocket;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  start(): Promise<void> {
    this.#socket.on('message', (data: RawData) =>
      this.onmessage?.(JSON.parse((data as Buffer).toString()) as JSONRPCMessage),
    );
    this.#socket.on('close', () => this.onclose?.());
    this.#socket.on('error', (error) => this.onerror?.(error));
    return Promise.resolve();
  }

  send(message: JSONRPCMessage): Promise<void> {
    this.#socket.send(JSON.stringify(message));
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#socket.close();
    return Promise.resolve();
  }
}

/** A clock that speaks MCP over WebSocket, on a free port of the loopback interface. */
export async function startClockServer(): Promise<{ url: string; close: () => Promise<void> }> {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    handleProtocols: (offered) => (offered.has('mcp') ? 'mcp' : false),
  });
  server.on('connection', (socket) => serveStdio(buildClock, { transport: new SocketTransport(socket) }));
  await new Promise<void>((resolve) => {
    server.once('listening', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        for (const socket of server.clients) socket.terminate();
        server.close(() => resolve());
      }),
  };
}

function buildClock(): McpServer {
  const clock = new McpServer({ name: 'clock', version: '1.0.0' });
  clock.registerTool(
    'now',
    { description: 'The time in one time zone.', inputSchema: z.object({ zone: z.string().default('UTC') }) },
    ({ zone }) => ({
      content: [{ type: 'text', text: new Date().toLocaleString('en-GB', { timeZone: zone }) }],
    }),
  );
  return clock;
}
