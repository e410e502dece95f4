import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runInThisContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { createEngine } from '../../lib/engine/engine.ts';
import type { Config, EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import { CONNECTION_TRANSITIONS, PROCESS_TRANSITIONS } from '../../lib/connection/transitions.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import type { EngineEvent, EngineEventType, EventOf } from '../../lib/core/events.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Engine } from '../../lib/engine/contract.ts';

const BAD = fileURLToPath(new URL('./bad-stdio.mjs', import.meta.url));

/** Reconnects at once and for ever. */
export const QUICK = { baseMs: 20, jitter: 0, intensity: 100 } as const;

/** The mini server with one fault, see `bad-stdio.mjs`. It speaks the newest legacy revision unless told otherwise. */
export function stdio(
  mode: string,
  argument: string | number = '',
  env: Readonly<Record<string, string>> = {},
): ServerConfig {
  return { command: process.execPath, args: [BAD, mode, String(argument)], env };
}

/** Makes engines that are stopped after the spec, whatever happened in it. */
export function engines(): (config: EngineConfig | Config) => Engine {
  const made: Engine[] = [];
  afterEach(async () => {
    await Promise.all(made.splice(0).map((engine) => engine.stop({ graceMs: 0 })));
  });
  return (config) => {
    const engine = createEngine(
      Array.isArray(config.servers) ? config : { restart: QUICK, ...(config as EngineConfig) },
    );
    made.push(engine);
    return engine;
  };
}

/**
 * What a host must never hear of us, over the whole file: uncaught exceptions, unhandled rejections, warnings. Jest
 * shows its specs a copy of `process`; the events come on the real one.
 */
export function hostHearsNothing(): void {
  const host = runInThisContext('process') as NodeJS.Process;
  const heard: string[] = [];
  const hears =
    (what: string) =>
    (error: unknown): void => {
      // Of Jest's own doing.
      if (error instanceof Error && error.name === 'ExperimentalWarning') return;
      if ((error as { name?: unknown } | undefined)?.name === 'ExperimentalWarning') return;
      heard.push(`${what}: ${String((error as Error | undefined)?.stack ?? error)}`);
    };
  const listeners = {
    uncaughtExceptionMonitor: hears('uncaught exception'),
    unhandledRejection: hears('unhandled rejection'),
    warning: hears('warning'),
  };
  beforeAll(() => {
    for (const [event, listener] of Object.entries(listeners)) host.on(event as 'warning', listener);
  });
  afterEach(async () => {
    // Rejections are found unhandled at the end of a turn.
    await new Promise((resolve) => void setImmediate(resolve));
    expect(heard.splice(0)).toEqual([]);
  });
  afterAll(() => {
    for (const [event, listener] of Object.entries(listeners)) host.off(event, listener);
  });
}

/** The error that the promise rejects with; anything else than a `TroupeError` fails. */
export async function failureOf(promise: Promise<unknown>): Promise<TroupeError> {
  let result: unknown;
  try {
    result = await promise;
  } catch (error) {
    expect(error).toBeInstanceOf(TroupeError);
    return error as TroupeError;
  }
  throw new Error(`resolved with ${JSON.stringify(result)?.slice(0, 500)}`);
}

/** Milliseconds that the work took. */
export async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Waits until `holds`, for ten seconds at most; the machine may be busy. */
export async function until(holds: () => boolean | Promise<boolean>, what = 'something'): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(10);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export function isConnected(engine: Engine, id: string): boolean {
  return engine.connection(id).state === 'Connected';
}

/** The first text of a tool's result. */
export async function textOf(result: Promise<Json>): Promise<string> {
  const { content } = (await result) as { content: ReadonlyArray<{ text: string }> };
  return content[0]?.text ?? '';
}

/** Collects events of one type from now on. */
export function heard<T extends EngineEventType>(engine: Engine, type: T): EventOf<T>[] {
  const events: EventOf<T>[] = [];
  engine.on(type, (event) => events.push(event));
  return events;
}

/** What the process of `SPEC_LOG` has written, line by line. */
export function logLines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
}

export function logged(path: string, what: string): number {
  return logLines(path).filter((line) => line.startsWith(what)).length;
}

/** Processes whose environment holds the text, by id. Linux only: elsewhere nobody says. */
export function processesWith(mark: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
      } catch {
        return false;
      }
    });
}
export const LINUX = process.platform === 'linux' && existsSync('/proc/self/environ');

/** Every transition of connections and processes, in the order they were told. */
export interface Chronicle {
  readonly steps: readonly string[];
  /** Fails unless each transition begins where the one before ended and stands in its table. */
  check(): void;
}

export function chronicle(engine: Engine): Chronicle {
  const steps: string[] = [];
  const faults: string[] = [];
  const last = new Map<string, string>();
  const allowed = {
    connection: new Set(CONNECTION_TRANSITIONS.map(({ from, to }) => `${from} → ${to}`)),
    process: new Set(PROCESS_TRANSITIONS.map(({ from, to }) => `${from} → ${to}`)),
  };
  const note = (kind: 'connection' | 'process', id: string, from: string, to: string): void => {
    const step = `${from} → ${to}`;
    const key = `${kind} ${id}`;
    const before = last.get(key);
    steps.push(`${key}: ${step}`);
    if (!allowed[kind].has(step)) faults.push(`${key}: ${step} is in no table`);
    // Each attempt has a process of its own, and the one before is gone by then.
    const fresh =
      kind === 'process' && from === 'Created' ? before === undefined || before === 'Stopped' : false;
    if (before !== undefined && before !== from && !fresh) faults.push(`${key}: ${step} after ${before}`);
    last.set(key, to);
  };
  engine.on('*', (event: EngineEvent) => {
    if (event.type === 'connection.changed') note('connection', event.connection, event.from, event.to);
    if (event.type === 'process.changed') note('process', event.connection, event.from, event.to);
    // A server of the same name that comes later begins anew.
    if (event.type === 'server.removed') {
      for (const key of last.keys()) if (new RegExp(`^\\w+ ${event.server}(#|$)`).test(key)) last.delete(key);
    }
  });
  return {
    steps,
    check() {
      expect(faults).toEqual([]);
    },
  };
}
