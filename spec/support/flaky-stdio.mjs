/**
 * `node flaky-stdio.mjs [REVISION] [NAME]`: the flaky server on stdin and stdout. `SPEC_LOG` is a file that gets a line for its
 * start, each run of a tool, each cancelled run, and each chunk that came (`chunk 3`: with three lines in it).
 * `SPEC_TOOL` is one more tool that it lists.
 */
import { appendFileSync } from 'node:fs';
import { TOOLS, createFlakyServer } from './flaky-server.mjs';

const [revision = '2025-11-25', name = 'flaky'] = process.argv.slice(2);
const { SPEC_LOG, SPEC_TOOL } = process.env;
const log = (line) => {
  if (SPEC_LOG !== undefined) appendFileSync(SPEC_LOG, `${line}\n`);
};
const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const server = createFlakyServer({
  revision,
  name,
  push: write,
  tools: SPEC_TOOL === undefined ? TOOLS : [...TOOLS, { name: SPEC_TOOL, inputSchema: { type: 'object' } }],
  ran: (tool, nonce) => log(`run ${tool} ${nonce} ${process.pid}`),
  cancelled: (nonce) => log(`cancelled ${nonce}`),
  die: () => process.kill(process.pid, 'SIGKILL'),
});

log(`spawn ${process.pid}`);
let rest = '';
process.stdin.setEncoding('utf8').on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  log(`chunk ${lines.length}`);
  for (const line of lines) void server.receive(JSON.parse(line), write);
});
process.stdin.on('end', () => process.exit(0));
