/**
 * `node fifo-server.mjs SPEED`: an MCP server on stdio whose one tool works serially. It keeps to a timetable (each job
 * ends `ms / speed` after the one before, or after it came), so timers that fire late do not add up.
 */
import { createInterface } from 'node:readline';

const speed = Number(process.argv[2] ?? 1);
const write = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const TOOLS = [
  {
    name: 'work',
    description: 'Sleeps, one call after the other.',
    inputSchema: { type: 'object', properties: { ms: { type: 'number' } }, required: ['ms'] },
    annotations: { readOnlyHint: true },
  },
];
let freeAt = 0;

const handle = ({ id, method, params }) => {
  if (id === undefined) return;
  switch (method) {
    case 'initialize':
      write({
        id,
        result: {
          protocolVersion: '2025-11-25',
          capabilities: { tools: {} },
          serverInfo: { name: 'fifo', version: '1.0.0' },
        },
      });
      break;
    case 'ping':
      write({ id, result: {} });
      break;
    case 'tools/list':
      write({ id, result: { tools: TOOLS } });
      break;
    case 'tools/call': {
      const now = performance.now();
      freeAt = Math.max(now, freeAt) + params.arguments.ms / speed;
      setTimeout(() => write({ id, result: { content: [{ type: 'text', text: 'done' }] } }), freeAt - now);
      break;
    }
    default:
      write({ id, error: { code: -32601, message: `no method ${method}` } });
  }
};

createInterface({ input: process.stdin }).on('line', (line) => handle(JSON.parse(line)));
process.stdin.on('end', () => process.exit(0));
