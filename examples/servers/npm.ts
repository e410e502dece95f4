import { spawn, type ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

/** The program of an npm package that is installed as a development dependency, started with plain Node. */
export function npmServer(packageName: string, ...args: string[]): { command: string; args: string[] } {
  const manifestPath = require.resolve(`${packageName}/package.json`);
  const { bin } = require(manifestPath) as { bin: Record<string, string> | string };
  const program = typeof bin === 'string' ? bin : Object.values(bin)[0];
  if (program === undefined) throw new Error(`${packageName} has no program`);
  return { command: process.execPath, args: [join(dirname(manifestPath), program), ...args] };
}

export interface RemoteServer {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts a server that speaks HTTP, on a free port of the loopback interface; it is not a child of the engine. */
export async function startRemote(packageName: string, ...args: string[]): Promise<RemoteServer> {
  const { command, args: all } = npmServer(packageName, ...args);
  const preload = fileURLToPath(new URL('./loopback-only.mjs', import.meta.url));
  const child = spawn(command, ['--import', preload, ...all], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const port = await portOf(child, packageName);
  const { pid } = child;
  // Never a default: as a process id, 0 stands for our own process group.
  if (pid === undefined) throw new Error(`${packageName} has no process`);
  return {
    port,
    pid,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        if (!child.kill('SIGKILL')) resolve();
      }),
  };
}

function portOf(child: ChildProcess, packageName: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr?.on('data', (data: Buffer) => {
      text += String(data);
      const found = /listening on port (\d+)/.exec(text)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new Error(`${packageName} ended with ${code} before it listened: ${text}`)),
    );
  });
}
