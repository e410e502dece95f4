/**
 * The flaky server on Streamable HTTP, in the tests' own process: `await startFlakyHttp({ revision, name })`. It notes
 * what came and what ran; `refuse` and `order` are its faults and may be set at any time. `kill()` cuts every socket and
 * closes the port, `restart()` opens it again with all sessions forgotten.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { MODERN } from './mini-server.mjs';
import { TOOLS, createFlakyServer } from './flaky-server.mjs';

export async function startFlakyHttp({ revision = MODERN, name = 'flaky', tools = TOOLS } = {}) {
  const modern = revision >= MODERN;
  const sockets = new Set();
  let sessions = new Map();
  let port = 0;
  const host = {
    url: '',
    name,
    tools,
    seen: [],
    posts: [],
    runs: [],
    cancelled: [],
    refuse: undefined,
    order: undefined,
    hints: undefined,
    get sessions() {
      return sessions.size;
    },
    get listening() {
      return [...sessions.values()].some((session) =>
        modern ? session.server.listening > 0 : session.stream !== undefined,
      );
    },
    changed(method, params) {
      for (const { server } of sessions.values()) server.changed(method, params);
    },
    count: (method) => host.seen.filter((message) => message.method === method).length,
  };

  const open = () => {
    const session = { id: randomUUID(), stream: undefined, server: undefined };
    session.server = createFlakyServer({
      revision,
      name,
      push: (message) => event(session.stream, message),
      tools: () => host.tools,
      ran: (tool, nonce) => host.runs.push({ tool, nonce }),
      cancelled: (nonce) => host.cancelled.push(nonce),
      order: (message) => host.order?.(message),
      hints: (message) => host.hints?.(message) ?? {},
    });
    sessions.set(session.id, session);
    return session;
  };

  async function take(request, response, body) {
    const id = request.headers['mcp-session-id'];
    if (request.method !== 'POST' && modern) return plain(response, 405, 'POST only');
    if (!modern && id !== undefined && !sessions.has(id)) return plain(response, 404, 'Session not found');
    if (request.method === 'DELETE') {
      sessions.delete(id);
      return plain(response, 200, '');
    }
    if (request.method === 'GET') {
      const session = sessions.get(id);
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      session.stream = response;
      return undefined;
    }
    const messages = Array.isArray(body) ? body : [body];
    host.posts.push({ size: messages.length, array: Array.isArray(body), session: id });
    const requests = messages.filter((m) => m.method !== undefined && m.id !== undefined);
    for (const message of requests) host.seen.push({ ...message, headers: request.headers });
    for (const message of requests) {
      const refusal = host.refuse?.(message);
      if (refusal !== undefined)
        return plain(response, refusal.status, refusal.text ?? 'refused', refusal.headers);
    }
    const opens = messages.some((m) => m.method === 'initialize');
    if (!modern && !opens && id === undefined)
      return plain(response, 400, 'Bad Request: Server not initialized');
    const session = modern ? (sessions.values().next().value ?? open()) : opens ? open() : sessions.get(id);
    const headers = opens ? { 'mcp-session-id': session.id } : {};
    if (requests.length === 0) {
      for (const message of messages) await session.server.receive(message, () => {});
      return plain(response, 202, '');
    }
    if (modern)
      response.on(
        'close',
        () => response.writableFinished || requests.forEach((m) => session.server.cancel(m.id)),
      );
    const streams = Array.isArray(body) || requests.some((m) => m.method === 'subscriptions/listen');
    if (streams) response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' }).flushHeaders();
    let left = requests.length;
    await Promise.all(
      requests.map((message) =>
        session.server.receive(message, (out, final) => {
          if (streams) {
            event(response, out);
            left -= final === true ? 1 : 0;
            if (left === 0) response.end();
            return;
          }
          const status = out.error?.code === -32601 && modern ? 404 : 200;
          response
            .writeHead(status, { ...headers, 'content-type': 'application/json' })
            .end(JSON.stringify(out));
        }),
      ),
    );
    return undefined;
  }

  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      take(request, response, text === '' ? undefined : JSON.parse(text)).catch((error) =>
        plain(response, 500, String(error.stack)),
      );
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const listen = () => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  host.kill = async () => {
    await new Promise((resolve) => {
      server.close(resolve);
      for (const socket of sockets) socket.destroy();
    });
    // The other end hears of it in a turn of its own; before, it might write to a socket that is dead.
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  host.restart = async () => {
    sessions = new Map();
    await listen();
  };
  await listen();
  port = server.address().port;
  host.url = `http://127.0.0.1:${port}/mcp`;
  return host;
}

function event(stream, message) {
  stream?.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
}

function plain(response, status, text, headers = {}) {
  if (!response.headersSent)
    response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(text);
}
