import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { EngineConfig, ServerConfig } from '../../../lib/config/config.ts';
import type { EventOf } from '../../../lib/core/events.ts';
import type { Json } from '../../../lib/core/json-rpc.ts';
import type { Engine } from '../../../lib/engine/contract.ts';
import { createMemoryPair } from '../../../lib/mcp/transports/memory-pair.ts';
import { engines, heard, textOf } from '../engines.ts';
import { collectGarbage } from '../garbage.ts';
import { createMiniServer } from '../mini-server.mjs';
import { createHostile, type HostileIo } from './hostile-server.mjs';
import { ROWS, type Transport } from './rows.ts';

const PROGRAM = fileURLToPath(new URL('./hostile-program.mjs', import.meta.url));

/** What one row may cost; each has its own. */
export interface Budget {
  /** From the first message of the row to its last answer, milliseconds; waiting that the row asks for is in it. */
  readonly ms: number;
  /** Growth of the resident set at its highest, megabytes. */
  readonly memoryMb: number;
  /** Longest time in which the event loop does nothing else, milliseconds. */
  readonly lagMs: number;
}

export interface Bench {
  readonly transport: Transport;
  readonly engine: Engine;
  readonly oddities: ReadonlyArray<EventOf<'connection.oddity'>>;
  /** Calls the tool `act` of the hostile server. */
  act(fault: string, args?: Json, options?: Parameters<Engine['callTool']>[2]): Promise<Json>;
  /** The hostile server answers still, or again. */
  stillThere(): Promise<void>;
}

interface RowOptions extends Partial<Budget> {
  /** How it lists and opens. */
  readonly mode?: string;
  readonly config?: EngineConfig;
  readonly server?: ServerConfig;
}

/** One server per budget of a laptop that does other things too; a row that needs less says so. */
const DEFAULT: Budget = { ms: 5_000, memoryMb: 50, lagMs: 250 };

/** How often the loop is looked at, milliseconds. */
const WATCH_MS = 5;

/** Rows on every transport that `rows.ts` names for them, with what they may cost. */
export function hostileRows(): (
  id: string,
  options: RowOptions,
  work: (bench: Bench) => Promise<void>,
) => void {
  const engine = engines();
  let net: ChildProcess;
  let port = 0;
  beforeAll(async () => {
    net = spawn(process.execPath, [PROGRAM, 'net'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = (await once(net.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
    port = Number(line.toString());
  });
  afterAll(async () => {
    const ended = once(net, 'exit');
    net.stdin?.end();
    await ended;
  });

  const places: Record<Transport, (mode: string) => ServerConfig> = {
    stdio: (mode) => ({ command: process.execPath, args: [PROGRAM, 'stdio', mode] }),
    'streamable-http': (mode) => ({ url: `http://127.0.0.1:${port}/http/${mode}`, type: 'http' }),
    sse: (mode) => ({ url: `http://127.0.0.1:${port}/sse/${mode}`, type: 'sse' }),
    websocket: (mode) => ({ url: `ws://127.0.0.1:${port}/ws/${mode}`, type: 'ws' }),
    'in-process': (mode) => ({ server: () => inProcess(mode) }),
  };

  return (id, options, work) => {
    const row = ROWS.find((known) => known.id === id);
    if (row === undefined) throw new Error(`no row ${id}`);
    const budget = { ...DEFAULT, ...options };
    const transports: readonly Transport[] = row.transports === 'any' ? [] : row.transports;
    it.each([...transports])(`${id} ${row.statement} (%s)`, async (transport) => {
      const troupe = engine({
        ...options.config,
        servers: {
          good: healthy(),
          // What is looked at is one fault at a time, not what the breaker makes of many.
          bad: { era: 'legacy', breaker: false, ...places[transport](options.mode ?? ''), ...options.server },
        },
      });
      const bench: Bench = {
        transport,
        engine: troupe,
        oddities: heard(troupe, 'connection.oddity'),
        act: (fault, args = {}, request = {}) => troupe.callTool('bad__act', { fault, ...args }, request),
        async stillThere() {
          expect(await textOf(bench.act('echo', { value: 'still here' }, { timeoutMs: 20_000 }))).toBe(
            'still here',
          );
        },
      };
      await troupe.start();
      await troupe.listTools({ servers: ['good'] });
      const cost = await measured(() => work(bench));
      expect(cost.ms).toBeLessThan(budget.ms);
      expect(cost.lagMs).toBeLessThan(budget.lagMs);
      expect(cost.memoryMb).toBeLessThan(budget.memoryMb);
      // Whatever it did, the other server does not know of it.
      expect(await textOf(troupe.callTool('good__echo', { message: 'hi' }))).toBe('hi');
      expect(Object.keys(Object.prototype)).toEqual([]);
    });
  };
}

async function measured(work: () => Promise<void>): Promise<Budget> {
  collectGarbage();
  const before = process.memoryUsage.rss();
  let peak = before;
  let lagMs = 0;
  let last = { at: performance.now(), cpu: process.cpuUsage() };
  const look = (): void => {
    peak = Math.max(peak, process.memoryUsage.rss());
    const { user, system } = process.cpuUsage(last.cpu);
    // On a busy machine we also stand still while others run: what blocked the loop has used the processor for as long.
    lagMs = Math.max(lagMs, Math.min(performance.now() - last.at, (user + system) / 1e3) - WATCH_MS);
    last = { at: performance.now(), cpu: process.cpuUsage() };
  };
  const watch = setInterval(look, WATCH_MS);
  const started = performance.now();
  try {
    await work();
  } finally {
    clearInterval(watch);
  }
  const ms = performance.now() - started;
  look();
  return { ms, memoryMb: (peak - before) / 2 ** 20, lagMs };
}

/** A healthy server in our own process. */
function healthy(): ServerConfig {
  return {
    transport() {
      const [client, own] = createMemoryPair();
      const write = (message: unknown): void => void own.send(message as never);
      const mini = createMiniServer({ revision: '2025-11-25', push: write });
      Object.assign(own, { onmessage: (message: unknown) => void mini.receive(message, write) });
      void own.start();
      return client;
    },
  };
}

interface ServerEnd {
  onmessage?: (message: unknown) => void;
  onclose?: () => void;
  start(): Promise<void>;
  send(message: unknown): Promise<void>;
  close(): Promise<void>;
}

/** The hostile server as an object with `connect`: its messages arrive by reference. */
function inProcess(mode: string): object {
  let end: ServerEnd | undefined;
  return {
    async connect(transport: ServerEnd) {
      end = transport;
      let closed = false;
      const hostile = createHostile(mode);
      const say = (message: unknown): boolean => {
        if (!closed) void transport.send(message).catch(() => {});
        return false;
      };
      const io: HostileIo = {
        say,
        raw: (text) => void say(parsed(text)),
        together: (messages) => messages.forEach(say),
        long() {},
        bytes(buffer) {
          say(parsed(buffer.toString()));
        },
        done() {},
        cut: () => void transport.close(),
        open: () => !closed,
      };
      Object.assign(transport, {
        onmessage: (message: unknown) => hostile.receive(message, io),
        onclose: () => {
          closed = true;
        },
      });
      await transport.start();
    },
    close: () => end?.close(),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
