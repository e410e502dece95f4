/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import type { ServerOptions, WebSocket } from 'ws';
import type { RpcMessage } from '../../lib/core/json-rpc.ts';
import type { SdkTransport } from '../../lib/mcp/transports/sdk-transport.ts';

export interface WsServer {
  readonly url: URL;
  /** Sockets accepted, oldest first. */
  readonly sockets: readonly WebSocket[];
  close(): Promise<void>;
}

/** A WebSocket server on a free port of the loopback interface. `refuse`: the status every handshake is answered with. */
export async function startWsServer(
  onSocket: (socket: WebSocket) => void,
  options: ServerOptions & { readonly refuse?: number; readonly refuseHeaders?: Record<string, string> } = {},
): Promise<WsServer> {
  const { refuse, refuseHeaders, ...settings } = options;
  const http = createServer((_request, response) => response.writeHead(426).end());
  const sockets: WebSocket[] = [];
  const server = new WebSocketServer({ noServer: true, ...settings });
  http.on('upgrade', (request, socket, head) => {
    if (refuse !== undefined) {
      const headers = Object.entries(refuseHeaders ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.end(
        `HTTP/1.1 ${refuse} Refused\r\n${headers.join('')}content-length: 0\r\nconnection: close\r\n\r\n`,
      );
      return;
    }
    server.handleUpgrade(request, socket, head, (accepted) => {
      sockets.push(accepted);
      accepted.on('error', () => {});
      onSocket(accepted);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  return {
    url: new URL(`ws://127.0.0.1:${port}/mcp`),
    sockets,
    close() {
      for (const socket of sockets) socket.terminate();
      server.close();
      http.closeAllConnections();
      return new Promise((resolve) => http.close(() => resolve()));
    },
  };
}

/** The server's end of a socket as a transport of the MCP SDK. */
export function wsServerTransport(socket: WebSocket): SdkTransport {
  const transport: SdkTransport = {
    start() {
      socket.on('message', (data: Buffer) =>
        transport.onmessage?.(JSON.parse(data.toString()) as RpcMessage),
      );
      socket.on('close', () => transport.onclose?.());
      return Promise.resolve();
    },
    send: (message) =>
      new Promise((resolve, reject) => {
        socket.send(JSON.stringify(message), (error) => (error ? reject(error) : resolve()));
      }),
    close() {
      socket.close();
      return Promise.resolve();
    },
  };
  return transport;
}
