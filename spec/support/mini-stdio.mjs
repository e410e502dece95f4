/** `node mini-stdio.mjs REVISION [delayMs]`: the mini server on stdin and stdout. */
import { createInterface } from 'node:readline';
import { createMiniServer } from './mini-server.mjs';

const [revision = '2025-11-25', delay = '0'] = process.argv.slice(2);
const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const server = createMiniServer({ revision, push: write });
await new Promise((resolve) => setTimeout(resolve, Number(delay)));
createInterface({ input: process.stdin }).on('line', (line) => void server.receive(JSON.parse(line), write));
process.stdin.on('end', () => process.exit(0));
