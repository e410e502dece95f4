/** The lightest Streamable HTTP server there can be: JSON answers, a session id, no stream. Tells its port on stdout. */
import { createServer } from 'node:http';
import { reply } from '../../support/wire-server.mjs';

const SESSION = { 'content-type': 'application/json', 'mcp-session-id': 'bench' };

const server = createServer((request, response) => {
  if (request.method !== 'POST') {
    response.writeHead(request.method === 'DELETE' ? 200 : 405).end();
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const message = JSON.parse(Buffer.concat(chunks).toString());
    if (message.id === undefined) {
      response.writeHead(202).end();
      return;
    }
    const text = JSON.stringify(reply(message));
    response.writeHead(200, { ...SESSION, 'content-length': Buffer.byteLength(text) }).end(text);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
process.stdin.resume().on('end', () => process.exit(0));
