/**
 * `node hostile-program.mjs stdio MODE`: the hostile server on stdin and stdout.
 * `node hostile-program.mjs net`: the same on Streamable HTTP (`/http/MODE`), HTTP+SSE (`/sse/MODE`) and WebSocket
 * (`/ws/MODE`) of one port of the loopback interface, told as the first line of stdout; ends with stdin.
 *
 * A program of its own, so that the time and memory of the engine are measured and not those of its enemy.
 */
import { createServer } from 'node:http';
import { createGzip } from 'node:zlib';
import { WebSocketServer } from 'ws';
import { createHostile } from './hostile-server.mjs';

const [kind = 'stdio', mode = ''] = process.argv.slice(2);
const PIECE = 65_536;

/** Frames on anything with `write`. `frame` puts text into one frame, `head` and `tail` are around a long one. */
function streamIo(stream, { frame, head, tail, done, cut }) {
  const write = (data) => !stream.destroyed && !stream.writableEnded && stream.write(data) === false;
  return {
    say: (message) => write(frame(JSON.stringify(message))),
    raw: (text) => write(frame(text)),
    together: (messages) => write(messages.map((m) => frame(JSON.stringify(m))).join('')),
    async long(bytes, { ends }) {
      write(head);
      await pour(stream, bytes);
      if (ends) write(tail);
    },
    bytes: (buffer) => write(Buffer.concat([Buffer.from(head), buffer, Buffer.from(tail)])),
    done,
    cut,
    open: () => !stream.destroyed && !stream.writableEnded,
  };
}

/** Bodies that only HTTP has, by the fault that the tool `act` is asked for. */
const BODIES = {
  async 'json-huge'(message, response) {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(`{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":{"x":"`);
    await pour(response, 100_000_000);
    response.end('"}}');
  },
  bomb(message, response) {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    const gzip = createGzip({ level: 9 });
    gzip.on('error', () => {}).pipe(response);
    gzip.write(`{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":{"x":"`);
    void pour(gzip, 100_000_000).then(() => gzip.end('"}}'));
    response.on('close', () => gzip.destroy());
  },
  async refusal(_message, response) {
    response.writeHead(500, { 'content-type': 'text/plain' });
    await pour(response, 100_000_000);
    response.end();
  },
};

async function pour(stream, bytes) {
  for (let sent = 0; sent < bytes && !stream.destroyed; sent += PIECE) {
    if (!stream.write('x'.repeat(PIECE)))
      await new Promise((resolve) => {
        const go = () => {
          stream.off('drain', go).off('close', go);
          resolve();
        };
        stream.on('drain', go).on('close', go);
      });
  }
}

const EVENT = { frame: (text) => `data: ${text}\n\n`, head: 'data: ', tail: '\n\n' };

function stdio() {
  const hostile = createHostile(mode);
  const io = streamIo(process.stdout, {
    frame: (text) => `${text}\n`,
    head: '',
    tail: '\n',
    done() {},
    cut: () => process.exit(9),
  });
  let rest = '';
  process.stdin.setEncoding('utf8').on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) hostile.receive(JSON.parse(line), io);
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdout.on('error', () => process.exit(0));
}

function net() {
  const streams = new Map();
  let next = 0;
  const peers = new Map();
  /** One for each mode: HTTP has no sessions here. */
  const peer = (name) => {
    if (!peers.has(name)) peers.set(name, createHostile(name));
    return peers.get(name);
  };
  const server = createServer((request, response) => {
    response.on('error', () => {});
    const url = new URL(request.url, 'http://x');
    const [, way, name = ''] = url.pathname.split('/');
    if (way === 'sse' && request.method === 'GET') {
      const id = String(++next);
      streams.set(id, { response, hostile: createHostile(name) });
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`event: endpoint\ndata: /post/?id=${id}\n\n`);
      response.on('close', () => streams.delete(id));
      return;
    }
    if (request.method !== 'POST') return void response.writeHead(405).end();
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const message = JSON.parse(Buffer.concat(chunks).toString());
      if (way === 'post') {
        const stream = streams.get(url.searchParams.get('id'));
        response.writeHead(stream === undefined ? 404 : 202).end();
        const cut = () => stream.response.destroy();
        stream?.hostile.receive(message, streamIo(stream.response, { ...EVENT, done() {}, cut }));
        return;
      }
      if (message.id === undefined || message.method === undefined) return void response.writeHead(202).end();
      const fault = message.params?.arguments?.fault;
      if (typeof fault === 'string' && Object.hasOwn(BODIES, fault))
        return void BODIES[fault](message, response);
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      const io = streamIo(response, {
        ...EVENT,
        done: () => response.end(),
        cut: () => response.destroy(),
      });
      peer(name).receive(message, io);
    });
  });
  const sockets = new WebSocketServer({ server, handleProtocols: () => 'mcp' });
  sockets.on('connection', (socket, { url }) => {
    socket.on('error', () => {});
    const hostile = createHostile(url.split('/')[2]);
    const open = () => socket.readyState === 1;
    const send = (data, options) => {
      if (open()) socket.send(data, options ?? {});
      return socket.bufferedAmount > 1_000_000;
    };
    const io = {
      say: (message) => send(JSON.stringify(message)),
      raw: (text) => send(text),
      together: (messages) => messages.forEach((message) => send(JSON.stringify(message))),
      async long(bytes, { ends }) {
        for (let sent = 0; sent < bytes && open(); sent += PIECE) {
          send('x'.repeat(PIECE), { fin: ends && sent + PIECE >= bytes });
          while (open() && socket.bufferedAmount > 1_000_000) await new Promise((r) => setTimeout(r, 1));
        }
      },
      bytes: (buffer) => send(buffer, { binary: false }),
      done() {},
      cut: () => socket.terminate(),
      open,
    };
    socket.on('message', (data) => hostile.receive(JSON.parse(/** @type {Buffer} */ (data).toString()), io));
  });
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
  process.stdin.resume().on('end', () => process.exit(0));
}

if (kind === 'net') net();
else stdio();
