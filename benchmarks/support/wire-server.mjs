/**
 * `node wire-server.mjs [JSON settings]`: the lightest server there can be, on stdin and stdout, written without an SDK:
 * one tool, `echo`. Settings: `startMs` (asleep before it reads), `firstMs` (before it answers `initialize`), `eachMs`
 * (before every answer), `never` (answers nothing).
 */
const { startMs = 0, firstMs = 0, eachMs = 0, never = false } = JSON.parse(process.argv[2] ?? '{}');

const TOOLS = [{ name: 'echo', description: 'gives back what it gets', inputSchema: { type: 'object' } }];

/** The result of a request; undefined for an unknown method. */
export function answer(method, params) {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'wire', version: '1.0.0' },
      };
    case 'tools/call':
      return { content: [{ type: 'text', text: params.arguments?.message ?? '' }] };
    case 'tools/list':
      return { tools: TOOLS };
    case 'ping':
      return {};
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

if (process.argv[1]?.endsWith('wire-server.mjs')) setTimeout(serve, startMs);
