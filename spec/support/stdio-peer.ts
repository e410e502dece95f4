import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createClock } from '../../lib/core/clock.ts';
import {
  createLauncher,
  type Launcher,
  type LaunchSpec,
  type LaunchedProcess,
} from '../../lib/mcp/process.ts';

export const PEER = fileURLToPath(new URL('stdio-peer.mjs', import.meta.url));
const MARKER = 'TROUPE_SPEC_MARKER';

/** Child processes of one spec, recognised by an environment variable that what they start inherits. */
export interface Nursery {
  readonly clock: ReturnType<typeof createClock>;
  readonly env: Readonly<Record<string, string>>;
  spec(over?: Partial<LaunchSpec>): LaunchSpec;
  /** Starts `stdio-peer.mjs` in a mode. */
  launch(mode: string, argument?: string | number, over?: Partial<LaunchSpec>): Promise<LaunchedProcess>;
  /** Process ids that are left, children of children included, zombies not. */
  left(): number[];
  /** Resolves once `left` is empty or has at most `count`; rejects after 10 s. */
  settle(count?: number): Promise<void>;
  /** Ends whatever is left; for `afterEach`. */
  clear(): Promise<void>;
  /** Ends the helper, if there is one; for `afterAll`. */
  close(): Promise<void>;
}

/** @param helped whether a helper starts the processes, and not this process */
export function createNursery(helped = false): Nursery {
  const clock = createClock();
  const marker = randomUUID();
  const env = { PATH: process.env['PATH'] ?? '', [MARKER]: marker };
  const launcher = createLauncher(helped ? { helperAboveBytes: 0 } : {});
  let helping: Promise<unknown> | undefined = helped ? undefined : Promise.resolve();
  const launched: LaunchedProcess[] = [];
  const nursery: Nursery = {
    clock,
    env,
    spec: (over = {}) => ({
      command: process.execPath,
      args: [PEER],
      env,
      cwd: undefined,
      server: 'peer',
      stderrTailBytes: 8192,
      eofMs: 5_000,
      sigtermMs: 5_000,
      clock,
      ...over,
    }),
    async launch(mode, argument = '', over = {}) {
      helping ??= untilHelped(launcher, nursery.spec());
      await helping;
      const child = await launcher.launch(nursery.spec({ args: [PEER, mode, String(argument)], ...over }));
      launched.push(child);
      return child;
    },
    left: () => markedProcesses(marker),
    async settle(count = 0) {
      const end = performance.now() + 10_000;
      while (nursery.left().length > count) {
        if (performance.now() > end) throw new Error(`still there after 10 s: ${nursery.left().join(', ')}`);
        await new Promise((resolve) => void setTimeout(resolve, 10));
      }
    },
    async clear() {
      await Promise.all(launched.splice(0).map((child) => child.terminate({ eofMs: 0, sigtermMs: 0 })));
      for (const pid of nursery.left()) process.kill(pid, 'SIGKILL');
      await nursery.settle();
    },
    close: () => launcher.close(),
  };
  return nursery;
}

/** Resolves once the launcher starts children by its helper, with the id of the helper; rejects after 10 s. */
export async function untilHelped(launcher: Launcher, spec: LaunchSpec): Promise<number> {
  const end = performance.now() + 10_000;
  for (;;) {
    const child = await launcher.launch({ ...spec, command: 'sh', args: ['-c', 'read line; exit 3'] });
    const parent = parentOf(child.pid);
    child.stdin.write('\n');
    await child.exited;
    if (parent !== process.pid) return parent;
    if (performance.now() > end) throw new Error('no helper after 10 s');
    await new Promise((resolve) => void setTimeout(resolve, 20));
  }
}

/** Linux only. */
export function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** Resolves once no such process is there, zombies included; rejects after 10 s. */
export async function gone(pid: number): Promise<void> {
  const end = performance.now() + 10_000;
  while (existsSync(`/proc/${pid}`)) {
    if (performance.now() > end) throw new Error(`process ${pid} is still there after 10 s`);
    await new Promise((resolve) => void setTimeout(resolve, 10));
  }
}

/** Linux only: what carries the marker in its environment and is not a zombie (a zombie has no environment). */
function markedProcesses(marker: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARKER}=${marker}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Lines of a stream as they come; ends the iteration with the stream. */
export async function firstLine(stream: NodeJS.ReadableStream): Promise<Record<string, unknown>> {
  let text = '';
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      text += chunk.toString();
      const end = text.indexOf('\n');
      if (end === -1) return;
      stream.off('data', onData);
      resolve(JSON.parse(text.slice(0, end)) as Record<string, unknown>);
    };
    stream.on('data', onData);
    stream.once('end', () => reject(new Error(`ended before a line: ${text}`)));
  });
}
