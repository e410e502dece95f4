/**
 * The mini server on HTTP, in the tests' own process: `await startMiniHttp({ revision, kind })` where kind is `http`
 * (Streamable HTTP) or `sse` (HTTP+SSE). `kill()` cuts every socket, `restart()` listens again on the same port with
 * all sessions forgotten, `seen` are the requests that came.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createMiniServer } from './mini-server.mjs';

export async function startMiniHttp({ revision, kind = 'http' }) {
  const seen = [];
  const sockets = new Set();
  let sessions = new Map();
  let shared;
  let port = 0;

  const newSession = () => {
    const session = { id: randomUUID(), stream: undefined, server: undefined };
    session.server = createMiniServer({ revision, push: (message) => event(session.stream, message) });
    sessions.set(session.id, session);
    return session;
  };

  async function streamable(request, response, body) {
    const modern = revision >= '2026-07-28';
    if (request.method !== 'POST' && modern) return plain(response, 405, 'modern servers take POST only');
    const id = request.headers['mcp-session-id'];
    if (!modern && id !== undefined && !sessions.has(id)) return plain(response, 404, 'Session not found');
    if (request.method === 'DELETE') {
      sessions.delete(id);
      return plain(response, 200, '');
    }
    if (request.method === 'GET') {
      const session = sessions.get(id);
      if (session === undefined) return plain(response, 400, 'session id required');
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      session.stream = response;
      return undefined;
    }
    const messages = Array.isArray(body) ? body : [body];
    const opens = messages.some((m) => m.method === 'initialize');
    if (modern) shared ??= createMiniServer({ revision, push: () => {} });
    else if (!opens && id === undefined) {
      if (messages[0].method === 'server/discover')
        return plain(response, 400, 'Bad Request: Server not initialized');
      return plain(response, 400, 'Bad Request: no session id');
    }
    const session = modern ? undefined : opens ? newSession() : sessions.get(id);
    const server = modern ? shared : session.server;
    const requests = messages.filter((m) => m.method !== undefined && m.id !== undefined);
    if (requests.length === 0) {
      for (const message of messages) await server.receive(message, () => {});
      return plain(response, 202, '');
    }
    const headers = opens && session ? { 'mcp-session-id': session.id } : {};
    const streams =
      Array.isArray(body) ||
      requests.some((m) => m.method === 'tools/call' || m.method === 'subscriptions/listen');
    if (streams) {
      response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' }).flushHeaders();
      if (modern)
        response.on('close', () => requests.forEach((m) => response.writableFinished || server.cancel(m.id)));
      let open = requests.length;
      await Promise.all(
        requests.map((message) =>
          server.receive(message, (out, final) => {
            event(response, out);
            if (final && --open === 0) response.end();
          }),
        ),
      );
      return undefined;
    }
    await server.receive(requests[0], (out) => {
      const status = out.error === undefined || !modern ? 200 : out.error.code === -32601 ? 404 : 400;
      response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end(JSON.stringify(out));
    });
    return undefined;
  }

  async function sse(request, response, body) {
    const url = new URL(request.url, 'http://x');
    if (request.method === 'GET' && url.pathname === '/sse') {
      const session = newSession();
      session.stream = response;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`event: endpoint\ndata: /messages?id=${session.id}\n\n`);
      response.on('close', () => sessions.delete(session.id));
      return undefined;
    }
    const session = sessions.get(url.searchParams.get('id'));
    if (request.method !== 'POST' || url.pathname !== '/messages')
      return plain(response, 404, 'no such page');
    if (session === undefined) return plain(response, 404, 'no such session');
    plain(response, 202, 'Accepted');
    return session.server.receive(body, (out) => event(session.stream, out));
  }

  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const body = text === '' ? undefined : JSON.parse(text);
      seen.push({ method: request.method, url: request.url, headers: request.headers, body });
      (kind === 'sse' ? sse : streamable)(request, response, body).catch((error) =>
        plain(response, 500, String(error)),
      );
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const listen = () => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const kill = () =>
    new Promise((resolve) => {
      server.close(resolve);
      for (const socket of sockets) socket.destroy();
    });
  await listen();
  port = server.address().port;
  return {
    url: `http://127.0.0.1:${port}/${kind === 'sse' ? 'sse' : 'mcp'}`,
    seen,
    kill,
    async restart() {
      sessions = new Map();
      shared = undefined;
      await listen();
    },
    /** Forgets all sessions while the sockets live on. */
    forget() {
      sessions = new Map();
    },
    get sessions() {
      return sessions.size;
    },
    close: kill,
  };
}

function event(stream, message) {
  stream?.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
}

function plain(response, status, text) {
  if (!response.headersSent) response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
}
