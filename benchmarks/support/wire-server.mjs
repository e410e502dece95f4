/**
 * `node wire-server.mjs [JSON settings]`: the lightest server there can be, on stdin and stdout, written without an SDK:
 * the tool `echo`, which gives back its `message`, or `bytes` characters, or writes a line into the file `crash` and is gone. Settings: `startMs` (asleep before it reads),
 * `firstMs` (before it answers `initialize`), `eachMs` (before every answer), `never` (answers nothing), `tools` (how many
 * it lists), `spawned` (a file that gets a line per start), `modern` (speaks 2026-07-28 and nothing else).
 */
import { appendFileSync } from 'node:fs';

const isProgram = (process.argv[1] ?? '').endsWith('wire-server.mjs');
const {
  startMs = 0,
  firstMs = 0,
  eachMs = 0,
  never = false,
  tools = 1,
  spawned,
  modern = false,
} = isProgram ? JSON.parse(process.argv[2] ?? '{}') : {};

const TOOLS = toolList(tools);

/** `echo`, and as many more as are asked for, each with a schema of the usual size. */
export function toolList(count) {
  const echo = {
    name: 'echo',
    description: 'gives back what it gets',
    inputSchema: {
      type: 'object',
      properties: {
        message: { type: 'string' },
        bytes: { type: 'integer' },
        crash: { type: 'string' },
      },
    },
  };
  const more = Array.from({ length: count - 1 }, (_, i) => ({
    name: `tool_${i}`,
    description: `Looks for records of kind ${i} and gives back those that match, newest first`,
    inputSchema: {
      type: 'object',
      properties: {
        query: { type: 'string', description: 'What to look for; words, or a phrase in quotes' },
        limit: { type: 'integer', minimum: 1, maximum: 100, description: 'How many at most' },
      },
      required: ['query'],
    },
  }));
  return [echo, ...more];
}

let blob = '';

function echoed({ message = '', bytes, crash } = {}) {
  if (crash !== undefined) {
    appendFileSync(crash, `${process.pid}\n`);
    process.exit(1);
  }
  if (bytes === undefined) return message;
  if (blob.length !== bytes) blob = 'x'.repeat(bytes);
  return blob;
}

/** The result of a request; undefined for an unknown method. */
export function answer(method, params) {
  if (modern) return modernAnswer(method, params);
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'wire', version: '1.0.0' },
      };
    case 'tools/call':
      return { content: [{ type: 'text', text: echoed(params.arguments) }] };
    case 'tools/list':
      return { tools: TOOLS };
    case 'ping':
      return {};
    default:
      return undefined;
  }
}

function modernAnswer(method, params) {
  const complete = { resultType: 'complete', ttlMs: 0, cacheScope: 'private' };
  switch (method) {
    case 'server/discover':
      return {
        ...complete,
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: {} },
        _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'wire', version: '1.0.0' } },
      };
    case 'tools/call':
      return {
        resultType: 'complete',
        content: [{ type: 'text', text: echoed(params.arguments) }],
      };
    case 'tools/list':
      return { ...complete, tools: TOOLS };
    default:
      return undefined;
  }
}

export function reply({ id, method, params }) {
  const result = answer(method, params);
  return result === undefined
    ? { jsonrpc: '2.0', id, error: { code: -32601, message: `Method not found: ${method}` } }
    : { jsonrpc: '2.0', id, result };
}

function serve() {
  const write = (text) => process.stdout.write(text);
  let rest = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    let out = '';
    for (const line of lines) {
      if (line === '') continue;
      const message = JSON.parse(line);
      if (message.id === undefined || message.method === undefined || never) continue;
      const text = `${JSON.stringify(reply(message))}\n`;
      const wait = eachMs + (message.method === 'initialize' ? firstMs : 0);
      if (wait > 0) setTimeout(write, wait, text);
      else out += text;
    }
    if (out !== '') write(out);
  });
  process.stdin.on('end', () => process.exit(0));
}

if (isProgram) {
  if (spawned !== undefined) appendFileSync(spawned, `${process.pid}\n`);
  setTimeout(serve, startMs);
}
