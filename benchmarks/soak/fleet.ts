import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServerConfig } from '../../lib/index.ts';
import type { Control } from './control.ts';

const STDIO = fileURLToPath(new URL('servers/stdio.mjs', import.meta.url));
const HTTP = fileURLToPath(new URL('servers/http.mjs', import.meta.url));

/** Both eras take part. */
export const revisionOf = (index: number): string => (index % 2 === 0 ? '2025-11-25' : '2026-07-28');

export interface Surroundings {
  readonly control: Control;
  /** File that gets a line for every execution. */
  readonly log: string;
  /** In the environment of every process that the engine starts. */
  readonly marker: string;
}

/** A server over a pipe; some have a child of their own that ends for nothing but SIGKILL. */
export function stdioServer(
  around: Surroundings,
  name: string,
  revision: string,
  grandchild = false,
): ServerConfig {
  return {
    command: process.execPath,
    args: [STDIO, name, revision, ...(grandchild ? ['grandchild'] : [])],
    env: { SOAK_CONTROL: String(around.control.port), SOAK_LOG: around.log, SOAK_MARK: around.marker },
  };
}

/** Servers on HTTP, in one process of ours; resolves once each listens. */
export interface HttpServers {
  url(name: string): string;
  end(): Promise<void>;
}

export async function httpServers(
  around: Surroundings,
  servers: ReadonlyArray<{ readonly name: string; readonly revision: string }>,
): Promise<HttpServers> {
  const { control, log } = around;
  const child: ChildProcess = spawn(
    process.execPath,
    [HTTP, ...servers.map(({ name, revision }) => `${name}:${revision}`)],
    {
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { PATH: process.env['PATH'], SOAK_CONTROL: String(control.port), SOAK_LOG: log },
    },
  );
  await control.present(servers.map(({ name }) => name));
  return {
    url: (name) => `http://127.0.0.1:${control.peer(name)?.port}/mcp`,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.stdin?.end();
      await exited;
    },
  };
}
