import type { ResolvedReplica, ResolvedServer, StdioPlace } from '../config/config.ts';
import { childEnvironment } from '../config/environment.ts';
import type { Link } from '../connection/attempt.ts';
import { ServerProcess } from '../connection/server-process.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import type { Random } from '../core/ports.ts';
import type { Credentials } from '../mcp/authorization/credentials.ts';
import { cpuTimeMs, type Launcher, type LaunchedProcess } from '../mcp/process.ts';
import { createAutoHttpChannel } from '../mcp/transports/auto-http.ts';
import { createCustomChannel } from '../mcp/transports/custom.ts';
import { createInMemoryChannel } from '../mcp/transports/in-memory.ts';
import type { SdkTransport } from '../mcp/transports/sdk-transport.ts';
import { createSseChannel } from '../mcp/transports/sse.ts';
import { createStdioChannel } from '../mcp/transports/stdio.ts';
import { createStreamableHttpChannel } from '../mcp/transports/streamable-http.ts';
import { createWebSocketChannel } from '../mcp/transports/websocket.ts';
import type { Channel } from '../mcp/wire/channel.ts';

export interface LinkDeps {
  readonly server: ResolvedServer;
  readonly replica: ResolvedReplica;
  readonly clock: Clock;
  readonly random: Random;
  readonly emit: Emit;
  readonly launcher: Launcher;
  /** What the replica is told about who we are. */
  readonly credentials: Credentials | undefined;
  /** Gives the start slot back. */
  readonly leaveGate: () => void;
}

/** From a place in the configuration to a way to it; the only spot that knows all transports. */
export function createLink(deps: LinkDeps): Link & { readonly process?: ServerProcess | undefined } {
  const { where } = deps.replica;
  switch (where.kind) {
    case 'stdio':
      return stdioLink(deps, where);
    case 'in-process':
      return inProcessLink(deps, where.server);
    default:
      return { connect: () => remoteChannel(deps), release: () => Promise.resolve() };
  }
}

async function remoteChannel({ server, replica, clock, random, credentials }: LinkDeps): Promise<Channel> {
  const { where } = replica;
  const { limits, tls } = server;
  switch (where.kind) {
    case 'http': {
      const options = {
        url: where.url,
        headers: where.headers,
        limits,
        clock,
        random,
        server: server.name,
        tls,
        credentials: credentials?.http(),
      };
      if (where.flavour === 'sse') return createSseChannel(options);
      return where.flavour === 'auto' ? createAutoHttpChannel(options) : createStreamableHttpChannel(options);
    }
    case 'websocket': {
      const given = await credentials?.http()?.headers({ method: 'GET', url: where.url });
      return createWebSocketChannel({
        url: where.url,
        headers: { ...where.headers, ...given },
        limits,
        clock,
        server: server.name,
        tls,
      });
    }
    case 'custom':
      return createCustomChannel({
        transport: where.transport as () => SdkTransport,
        limits,
        clock,
        server: server.name,
      });
    default:
      throw new TroupeError('internal', `no transport for ${where.kind}`, { server: server.name });
  }
}

function stdioLink(deps: LinkDeps, place: StdioPlace): Link & { readonly process: ServerProcess } {
  const { server, clock, launcher, leaveGate } = deps;
  let launched: LaunchedProcess | undefined;
  const process = watched(
    deps,
    new ServerProcess(async () => {
      launched = await launcher.launch({
        command: place.command,
        args: place.args,
        env: childEnvironment(place),
        cwd: place.cwd,
        server: server.name,
        stderrTailBytes: server.limits.stderrTailBytes,
        eofMs: server.stop.eofMs,
        sigtermMs: server.stop.sigtermMs,
        clock,
      });
      return launched;
    }),
  );
  let stopWatching = (): void => {};
  return {
    process,
    async connect() {
      const { pid } = await process.start();
      if (launched === undefined || pid === undefined)
        throw new TroupeError('stopped', 'the process was stopped', { server: server.name });
      stopWatching = leaveWhenWaiting(pid, clock, leaveGate);
      return createStdioChannel({
        process: launched,
        limits: server.limits,
        clock,
        server: server.name,
        onFirstByte: leaveGate,
        // The grace time is one for both: the steps from the end of stdin to SIGKILL begin with the closing, not after it.
        onClosing: () => void process.stop(),
      });
    },
    async release() {
      stopWatching();
      await process.stop();
    },
  };
}

function inProcessLink(deps: LinkDeps, factory: () => unknown): Link & { readonly process: ServerProcess } {
  const { server, clock } = deps;
  let channel: Channel | undefined;
  let ended: () => void = () => {};
  const exited = new Promise<{ code: null; signal: null }>((resolve) => {
    ended = () => resolve({ code: null, signal: null });
  });
  const process = watched(
    deps,
    new ServerProcess(() => {
      channel = createInMemoryChannel({
        factory,
        clock,
        server: server.name,
        startTimeoutMs: server.startTimeoutMs,
      });
      return Promise.resolve({
        pid: undefined,
        exited,
        async stop() {
          await channel?.close(server.stop.eofMs);
          ended();
          return exited;
        },
      });
    }),
  );
  return {
    process,
    async connect() {
      await process.start();
      if (channel === undefined)
        throw new TroupeError('stopped', 'the server was stopped', { server: server.name });
      return channel;
    },
    release: () => process.stop(),
  };
}

/** Tells every transition of a process as an event. */
function watched({ server, replica, clock, emit }: LinkDeps, process: ServerProcess): ServerProcess {
  let from = process.state;
  process.subscribe((to) => {
    emit({
      type: 'process.changed',
      at: clock.wallTime(),
      connection: replica.id,
      server: server.name,
      from,
      to,
      pid: process.pid,
    });
    from = to;
  });
  return process;
}

/**
 * A child that only waits shall not keep others from starting: looked at this often, milliseconds. Above the 10 ms in
 * which the kernel counts processor time, below what a person notices.
 */
const WAITING_MS = 50;

/** Gives the start slot back once the child has used no processor time for a while; where nobody counts it, after the first look. */
function leaveWhenWaiting(pid: number, clock: Clock, leave: () => void): () => void {
  let disarm = (): void => {};
  let used = cpuTimeMs(pid);
  const look = (): void => {
    const now = cpuTimeMs(pid);
    if (now === undefined || now === used) {
      leave();
      return;
    }
    used = now;
    disarm = clock.after(WAITING_MS, look, { unref: true });
  };
  disarm = clock.after(WAITING_MS, look, { unref: true });
  return () => disarm();
}
