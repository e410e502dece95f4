import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { createMemoryPair, type Engine } from '../../lib/index.ts';
import { startMiniHttp } from '../support/mini-http.mjs';
import { createMiniServer } from '../support/mini-server.mjs';
import { REVISIONS, describeTransport } from './transport-contract.ts';

const STDIO = fileURLToPath(new URL('../support/mini-stdio.mjs', import.meta.url));
const LEGACY = REVISIONS.filter((revision) => revision < '2026-07-28');
const HTTP = REVISIONS.filter((revision) => revision >= '2025-03-26');

describeTransport({
  transport: 'stdio',
  revisions: REVISIONS,
  start: (revision) =>
    Promise.resolve({
      server: { command: process.execPath, args: [STDIO, revision] },
      lose: (engine) => {
        process.kill(engine.connection('mini').process?.pid ?? NaN, 'SIGKILL');
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    }),
});

describeTransport({
  transport: 'streamable-http',
  revisions: HTTP,
  start: async (revision) => {
    const server = await startMiniHttp({ revision });
    return { server: { url: server.url }, lose: (engine) => restart(server, engine), close: server.close };
  },
});

describeTransport({
  transport: 'sse',
  revisions: LEGACY,
  start: async (revision) => {
    const server = await startMiniHttp({ revision, kind: 'sse' });
    return {
      server: { url: server.url, type: 'sse' },
      lose: (engine) => restart(server, engine),
      close: server.close,
    };
  },
});

describeTransport({
  transport: 'websocket',
  revisions: REVISIONS,
  start: async (revision) => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'mcp' });
    server.on('connection', (socket) => {
      const write = (message: unknown): void => socket.send(JSON.stringify(message));
      const mini = createMiniServer({ revision, push: write });
      socket.on('message', (data) => void mini.receive(JSON.parse((data as Buffer).toString()), write));
    });
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const cut = (): Promise<void> => {
      for (const socket of server.clients) socket.terminate();
      return Promise.resolve();
    };
    return {
      server: { url: `ws://127.0.0.1:${port}`, type: 'ws' },
      lose: cut,
      close: async () => {
        await cut();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  },
});

describeTransport({
  transport: 'custom',
  revisions: REVISIONS,
  start: (revision) => {
    let end: () => void = () => {};
    return Promise.resolve({
      server: {
        transport: () => {
          const [client, own] = createMemoryPair();
          const write = (message: unknown): void => void own.send(message as never);
          const mini = createMiniServer({ revision, push: write });
          own.onmessage = (message: unknown) => void mini.receive(message, write);
          void own.start();
          end = () => void own.close();
          return client;
        },
      },
      lose: () => Promise.resolve(end()),
      close: () => Promise.resolve(),
    });
  },
});

/** The server dies and comes back with all sessions forgotten; a request shows the engine that it was away. */
async function restart(
  server: { kill(): Promise<void>; restart(): Promise<void> },
  engine: Engine,
): Promise<void> {
  await server.kill();
  await engine.callTool('mini__echo', { message: 'anybody?' }, { timeoutMs: 300 }).catch(() => {});
  await server.restart();
}
