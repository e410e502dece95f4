import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServerConfig } from '../../lib/index.ts';
import { buildDatabaseServer } from '../servers/database.ts';
import { factorsServer } from '../servers/factors.ts';
import { npmServer, startRemote } from '../servers/npm.ts';
import { startClockServer } from '../servers/websocket.ts';

export interface DemoFleet {
  readonly servers: Record<string, ServerConfig>;
  /** A directory that only the file server may touch. */
  readonly directory: string;
  close(): Promise<void>;
}

/** Real servers over every transport; `broken` names one that is to be started in a way that cannot work. */
export async function startDemoFleet(broken: string | undefined): Promise<DemoFleet> {
  const directory = await mkdtemp(join(tmpdir(), 'mcp-troupe-'));
  const [http, sse, clock] = await Promise.all([
    startRemote('@modelcontextprotocol/server-everything', 'streamableHttp'),
    startRemote('@modelcontextprotocol/server-everything', 'sse'),
    startClockServer(),
  ]);
  const servers: Record<string, ServerConfig> = {
    everything: npmServer('@modelcontextprotocol/server-everything', 'stdio'),
    'everything-http': { url: `http://127.0.0.1:${http.port}/mcp`, type: 'http' },
    'everything-sse': { url: `http://127.0.0.1:${sse.port}/sse`, type: 'sse' },
    files: npmServer('@modelcontextprotocol/server-filesystem', directory),
    memory: {
      ...npmServer('@modelcontextprotocol/server-memory'),
      env: { MEMORY_FILE_PATH: join(directory, 'memory.jsonl') },
    },
    thinking: npmServer('@modelcontextprotocol/server-sequential-thinking'),
    planets: { server: buildDatabaseServer },
    clock: { url: clock.url, type: 'ws' },
    // Three processes that share the load; trusted, so that its tool is believed to be read-only.
    factors: { ...factorsServer, replicas: 3, trusted: true },
  };
  const close = async (): Promise<void> => {
    await Promise.all([http.stop(), sse.stop(), clock.close()]);
    await rm(directory, { recursive: true, force: true });
  };
  if (broken !== undefined) {
    if (servers[broken] === undefined) {
      await close();
      throw new RangeError(
        `--break: there is no server "${broken}"; there are ${Object.keys(servers).join(', ')}`,
      );
    }
    servers[broken] = {
      command: process.execPath,
      args: ['-e', 'console.error("broken on purpose"); process.exit(3)'],
    };
  }
  return { servers, directory, close };
}
