import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterEach } from '@jest/globals';
import type { ServerConfig } from '../../lib/config/config.ts';
import { startFlakyHttp, type FlakyHttp } from './flaky-http.mjs';
import { logLines } from './engines.ts';

const FLAKY = fileURLToPath(new URL('./flaky-stdio.mjs', import.meta.url));

/** The flaky server as a process, see `flaky-stdio.mjs`. */
export function flakyStdio(
  log?: string,
  settings: { readonly revision?: string; readonly name?: string; readonly tool?: string } = {},
): ServerConfig {
  const { revision = '2025-11-25', name = 'flaky', tool } = settings;
  return {
    command: process.execPath,
    args: [FLAKY, revision, name],
    env: {
      ...(log === undefined ? {} : { SPEC_LOG: log }),
      ...(tool === undefined ? {} : { SPEC_TOOL: tool }),
    },
  };
}

/** Starts flaky HTTP servers that are closed after the spec. */
export function flakyHttps(): typeof startFlakyHttp {
  const open: FlakyHttp[] = [];
  afterEach(async () => {
    await Promise.all(open.splice(0).map((server) => server.kill()));
  });
  return async (options) => {
    const server = await startFlakyHttp(options);
    open.push(server);
    return server;
  };
}

export const nonce = (): string => randomUUID();

/** How often the run with this nonce began, over all processes that write to the log. */
export function runsOf(log: string, of: string): number {
  return logLines(log).filter((line) => line.startsWith('run ') && line.split(' ')[2] === of).length;
}
