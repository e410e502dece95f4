/** `node effects-stdio.mjs FILE`: a server whose tools write the nonce of each call into FILE before they answer. */
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [file] = process.argv.slice(2);
const tool = (name) => ({
  name,
  inputSchema: { type: 'object', properties: { nonce: { type: 'string' } }, required: ['nonce'] },
});
const answer = ({ method, params }) => {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'effects', version: '1.0.0' },
      };
    case 'tools/list':
      return { tools: [tool('act'), tool('forbidden')] };
    case 'tools/call':
      appendFileSync(file, `${params.name} ${params.arguments.nonce}\n`);
      return { content: [{ type: 'text', text: params.arguments.nonce }] };
    default:
      return undefined;
  }
};
createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (message.id === undefined) return;
  const result = answer(message);
  const reply =
    result === undefined
      ? { error: { code: -32601, message: `Method not found: ${message.method}` } }
      : { result };
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id: message.id, ...reply })}\n`);
});
process.stdin.on('end', () => process.exit(0));
