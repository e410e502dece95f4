/** `tsx stdio-host.mjs HOW [helped]`: a host that starts two stubborn servers and ends in the way it is told. */
import { createClock } from '../../lib/core/clock.ts';
import { createLauncher } from '../../lib/mcp/process.ts';
import { PEER, firstLine, untilHelped } from './stdio-peer.ts';

const [how, helped] = process.argv.slice(2);
const launcher = createLauncher(helped === 'helped' ? { helperAboveBytes: 0 } : {});
const common = {
  env: { ...process.env },
  cwd: undefined,
  server: 'peer',
  stderrTailBytes: 100,
  eofMs: 500,
  sigtermMs: 500,
  clock: createClock(),
};
if (helped === 'helped') process.stdout.write(`${await untilHelped(launcher, common)}\n`);
for (let i = 0; i < 2; i += 1) {
  const child = await launcher.launch({
    command: process.execPath,
    args: [PEER, i === 0 ? 'ignore-all' : 'quiet-child'],
    ...common,
  });
  await firstLine(child.stdout);
}
process.stdout.write('up\n');
if (how === 'throw') {
  setImmediate(() => {
    throw new Error('defect of the host');
  });
} else process.exit(how === 'exit' ? 7 : 1);
