/**
 * `node flaky-http-process.mjs REVISION`: the flaky server on HTTP, as a process of its own. Its first line is the address;
 * any line it reads is answered with the transmissions that came so far. Ends with its stdin.
 */
import { createInterface } from 'node:readline';
import { startFlakyHttp } from './flaky-http.mjs';

const [revision = '2025-03-26'] = process.argv.slice(2);
const server = await startFlakyHttp({ revision });
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
tell(server.url);
createInterface({ input: process.stdin })
  .on('line', () => tell(server.posts))
  .on('close', () => process.exit(0));
