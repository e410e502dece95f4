/** `tsx stdio-host.mjs HOW`: a host that starts two stubborn servers and ends in the way it is told. */
import { createClock } from '../../lib/core/clock.ts';
import { createLauncher } from '../../lib/mcp/process.ts';
import { PEER, firstLine } from './stdio-peer.ts';

const [how] = process.argv.slice(2);
const launcher = createLauncher();
for (let i = 0; i < 2; i += 1) {
  const child = await launcher.launch({
    command: process.execPath,
    args: [PEER, i === 0 ? 'ignore-all' : 'quiet-child'],
    env: { ...process.env },
    cwd: undefined,
    server: 'peer',
    stderrTailBytes: 100,
    eofMs: 500,
    sigtermMs: 500,
    clock: createClock(),
  });
  await firstLine(child.stdout);
}
process.stdout.write('up\n');
if (how === 'throw') {
  setImmediate(() => {
    throw new Error('defect of the host');
  });
} else process.exit(how === 'exit' ? 7 : 1);
