/** `tsx bystander-host.mjs [stay]`: a host with a helper, which has nothing more to do: it ends by itself, unless it stays. */
import { createClock } from '../../lib/core/clock.ts';
import { createLauncher } from '../../lib/mcp/process.ts';
import { untilHelped } from './stdio-peer.ts';

const launcher = createLauncher({ helperAboveBytes: 0 });
const helper = await untilHelped(launcher, {
  command: '',
  args: [],
  env: { ...process.env },
  cwd: undefined,
  server: 'peer',
  stderrTailBytes: 100,
  eofMs: 500,
  sigtermMs: 500,
  clock: createClock(),
});
process.stdout.write(`${helper}\n`);
if (process.argv[2] === 'stay') setInterval(() => {}, 60_000);
