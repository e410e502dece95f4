/**
 * A transport of your own: anything with the interface of the MCP SDK's `Transport`, a fresh one per attempt. This one
 * counts the bytes of an in-process conversation; a real one would carry them over a queue, a serial line, a worker.
 *
 *   npx tsx examples/custom-transport.ts
 */
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { createEngine, createMemoryPair } from '../lib/index.ts';
import { buildDatabaseServer } from './servers/database.ts';

let bytes = 0;

class CountingTransport implements Transport {
  readonly #inner: Transport;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  async start(): Promise<void> {
    this.#inner.onclose = () => this.onclose?.();
    this.#inner.onerror = (error) => this.onerror?.(error);
    this.#inner.onmessage = (message) => {
      bytes += JSON.stringify(message).length;
      this.onmessage?.(message);
    };
    await this.#inner.start();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    bytes += JSON.stringify(message).length;
    await this.#inner.send(message);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

const engine = createEngine({
  servers: {
    planets: {
      transport: () => {
        const [client, server] = createMemoryPair();
        serveStdio(buildDatabaseServer, { transport: server });
        return new CountingTransport(client);
      },
    },
  },
});

try {
  await engine.start();
  const moons = await engine.callTool('query', { sql: 'SELECT sum(moons) AS moons FROM planet' });
  console.log(JSON.stringify(moons['structuredContent']), `in ${bytes} bytes, both ways`);
} finally {
  await engine.stop();
}
