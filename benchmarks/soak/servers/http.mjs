/**
 * `node http.mjs NAME:REVISION …`: mini servers on Streamable HTTP, each with a port of its own, until the soak tells
 * one of them to do wrong. Each tells its port with its name.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { gzipSync } from 'node:zlib';
import { MODERN, createMiniServer } from '../../../spec/support/mini-server.mjs';
import { control, executed, seeded } from './control.mjs';

const event = (stream, message) => stream?.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
const plain = (response, status, text, headers = {}) => {
  if (!response.headersSent)
    response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(text);
};
const random = seeded(process.pid);

function serve(name, revision) {
  const modern = revision >= MODERN;
  const sessions = new Map();
  const shared = modern ? createMiniServer({ revision, push: () => {} }) : undefined;
  let faults;

  /** Before the call runs; true when the answer has been given. */
  function refuses(kind, response) {
    switch (kind) {
      case '401':
        plain(response, 401, 'who are you', { 'www-authenticate': 'Bearer realm="soak"' });
        break;
      case '404':
        sessions.clear();
        plain(response, 404, 'Session not found');
        break;
      case '429':
        plain(response, 429, 'slowly', { 'retry-after': '1' });
        break;
      case '503':
        plain(response, 503, 'later');
        break;
      case 'reset':
        // One half of them before it runs, the other after.
        if (random() < 0.5) return false;
        response.socket.resetAndDestroy();
        break;
      case 'hang':
        break;
      default:
        return false;
    }
    faults.hit();
    return true;
  }

  /** After the call has run: how the answer goes wrong. */
  function answerWith(kind, response, message, headers) {
    const json = JSON.stringify(message);
    const stream = () =>
      response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' }).flushHeaders();
    switch (kind) {
      case '500':
        plain(response, 500, 'it ran and then it broke');
        break;
      case '421':
        // Node's fetch sends a request again by itself on this status; this one has run.
        plain(response, 421, 'misdirected');
        break;
      case 'reset':
        response.socket?.resetAndDestroy();
        break;
      case 'SSE cut':
        stream();
        response.write(`event: message\ndata: ${json.slice(0, json.length / 2)}`);
        setImmediate(() => (random() < 0.5 ? response.end() : response.socket?.destroy()));
        break;
      case 'SSE silence':
        stream();
        break;
      case 'gzip':
        response
          .writeHead(200, { ...headers, 'content-type': 'application/json', 'content-encoding': 'gzip' })
          .end(gzipSync(json));
        break;
      case 'wrong type':
        response
          .writeHead(200, { ...headers, 'content-type': 'text/html' })
          .end('<html>please log in</html>');
        break;
      default:
        stream();
        event(response, message);
        response.end();
        return;
    }
    faults.hit();
  }

  async function call(request, response, message, server) {
    const kind = faults.fault(message.params.arguments.message);
    if (refuses(kind, response)) return;
    executed(message.params.arguments.message);
    await server.receive(message, (out) => answerWith(kind, response, out, {}));
  }

  async function handle(request, response, message) {
    if (request.method !== 'POST' && modern) return plain(response, 405, 'modern servers take POST only');
    const id = request.headers['mcp-session-id'];
    const known = sessions.get(id);
    if (!modern && id !== undefined && known === undefined) return plain(response, 404, 'Session not found');
    if (request.method === 'DELETE') {
      sessions.delete(id);
      return plain(response, 200, '');
    }
    if (request.method === 'GET') {
      if (known === undefined) return plain(response, 400, 'session id required');
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      known.stream = response;
      return undefined;
    }
    const opens = !modern && message.method === 'initialize';
    if (!modern && !opens && known === undefined) return plain(response, 400, 'Bad Request: no session id');
    let session = known;
    if (opens) {
      session = { id: randomUUID(), stream: undefined, server: undefined };
      const made = session;
      made.server = createMiniServer({ revision, push: (out) => event(made.stream, out) });
      sessions.set(made.id, made);
    }
    const server = modern ? shared : session.server;
    if (message.id === undefined || message.method === undefined) {
      await server.receive(message, () => {});
      return plain(response, 202, '');
    }
    if (message.method === 'tools/call') return call(request, response, message, server);
    if (message.method === 'subscriptions/listen') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      response.on('close', () => server.cancel(message.id));
      return server.receive(message, (out) => event(response, out));
    }
    const headers = opens ? { 'mcp-session-id': session.id } : {};
    return server.receive(message, (out) => {
      const status = out.error === undefined || !modern ? 200 : out.error.code === -32601 ? 404 : 400;
      response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end(JSON.stringify(out));
    });
  }

  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      handle(request, response, text === '' ? undefined : JSON.parse(text)).catch((error) =>
        plain(response, 500, String(error)),
      );
    });
  });
  // A client may keep its sockets as long as it likes.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1', () => {
    faults = control(name, { port: server.address().port }, {});
  });
}

for (const argument of process.argv.slice(2)) {
  const [name, revision] = argument.split(':');
  serve(name, revision);
}
// The soak ends us by closing this pipe.
process.stdin.on('end', () => process.exit(0)).resume();
