import type { ChildProcess, SpawnOptions } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Clock } from '../core/clock.ts';
import { signalGroup } from './process-group.ts';

/** What the helper is asked to start; sent to it as JSON. */
export interface SpawnOrder {
  readonly command: string;
  readonly args: readonly string[];
  readonly options: SpawnOptions;
}

/** A child process that has started, whoever its parent is. */
export interface StartedChild {
  readonly pid: number;
  readonly stdin: Socket;
  readonly stdout: Socket;
  readonly stderr: Socket;
  /** Told once. Both are null where the parent that would have seen it has ended. */
  onExit(listener: (code: number | null, signal: string | null) => void): void;
}

type PipeName = 'stdin' | 'stdout' | 'stderr';

/** What the helper tells of the order with this number. */
type Tidings = { readonly order: number } & (
  | { readonly pipe: PipeName; readonly pid: number }
  | { readonly failed: string; readonly code: string | undefined }
  | { readonly exit: readonly [number | null, string | null] }
);

interface Pending {
  readonly resolve: (child: StartedChild) => void;
  readonly reject: (error: Error) => void;
  readonly pipes: Partial<Record<PipeName, Socket>>;
  pid: number | undefined;
}

/**
 * Starts children from a small process beside the host. Linux copies the page tables of whoever starts a child, and then
 * each page that is written again faults once: 0.1 ms per MB of the host at once (25 to 50 ms with 200 to 400 MB, measured),
 * as much again in the milliseconds after, and all that time no server gets an answer. The helper stays small. The pipes
 * of a child are handed over to the host as they are, so that nothing of its messages passes the helper; what the helper
 * tells is only how each child ended. Where the host ends, so does the helper; where the helper ends, its children
 * count as ended, and the host starts the next ones by itself.
 */
export class SpawnHelper {
  readonly #spawn: (program: string) => ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #exits = new Map<number, (code: number | null, signal: string | null) => void>();
  #child: ChildProcess | undefined;
  #ready = false;
  #orders = 0;
  /** Closed, or it could not even start: no other is tried. */
  #closed = false;

  /** @param spawn starts this program text in a process of its own, with a channel to it */
  constructor(spawn: (program: string) => ChildProcess) {
    this.#spawn = spawn;
  }

  /** Whether it could start one now. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Starts the helper itself, which takes some 50 ms; until then it is not `ready`. Idempotent. */
  warm(): void {
    if (this.#child !== undefined || this.#closed) return;
    let child: ChildProcess;
    try {
      child = this.#child = this.#spawn(PROGRAM);
    } catch {
      // No process or descriptor is left; the host will find out for itself what it cannot start.
      this.#closed = true;
      return;
    }
    const over = (): void => this.#over(child);
    child.once('error', over);
    child.once('exit', over);
    child.once('disconnect', over);
    child.on('message', (tidings: 'ready' | Tidings, socket) => {
      if (tidings === 'ready') this.#ready = this.#child === child;
      else this.#hear(tidings, socket as Socket | undefined);
    });
    // It serves the host and must not keep it alive.
    child.unref();
    child.channel?.unref();
  }

  /** Rejects with what Node says when it cannot start the program, or with `HelperGone`: also for a helper that hangs. */
  start(order: SpawnOrder, clock: Pick<Clock, 'after'>): Promise<StartedChild> {
    return new Promise((resolve, reject) => {
      const child = this.#child;
      if (child === undefined || !this.#ready) {
        reject(new HelperGone());
        return;
      }
      const number = (this.#orders += 1);
      const disarm = clock.after(HANGS_MS, () => this.#over(child));
      this.#pending.set(number, {
        resolve(started) {
          disarm();
          resolve(started);
        },
        reject(error) {
          disarm();
          reject(error);
        },
        pipes: {},
        pid: undefined,
      });
      this.#keepAwake();
      // An error here is followed by the end of the channel.
      child.send({ number, ...order }, () => {});
    });
  }

  /** Ends the helper; resolves when it is gone. Children that it started live on. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === undefined) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.ref();
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) await gone;
    this.#over(child);
  }

  #hear(tidings: Tidings, socket: Socket | undefined): void {
    const { order } = tidings;
    if ('exit' in tidings) {
      const tell = this.#exits.get(order);
      this.#exits.delete(order);
      tell?.(...tidings.exit);
    } else {
      const pending = this.#pending.get(order);
      if (pending === undefined) socket?.destroy();
      else if ('failed' in tidings) {
        this.#pending.delete(order);
        pending.reject(Object.assign(new Error(tidings.failed), { code: tidings.code }));
      } else if (socket === undefined) {
        this.#pending.delete(order);
        pending.reject(new HelperGone());
      } else {
        // A socket reads too: that nothing comes from there any more says nothing of the other direction.
        if (tidings.pipe === 'stdin') socket.resume().allowHalfOpen = true;
        pending.pipes[tidings.pipe] = socket;
        pending.pid = tidings.pid;
        this.#startedWhenWhole(order, pending, tidings.pid);
      }
    }
    this.#keepAwake();
  }

  #startedWhenWhole(order: number, { resolve, pipes }: Pending, pid: number): void {
    const { stdin, stdout, stderr } = pipes;
    if (stdin === undefined || stdout === undefined || stderr === undefined) return;
    this.#pending.delete(order);
    let exit: readonly [number | null, string | null] | undefined;
    let listener: ((code: number | null, signal: string | null) => void) | undefined;
    this.#exits.set(order, (code, signal) => {
      exit = [code, signal];
      listener?.(code, signal);
    });
    resolve({
      pid,
      stdin,
      stdout,
      stderr,
      onExit(told) {
        if (exit === undefined) listener = told;
        else told(...exit);
      },
    });
  }

  /** As with children of one's own: the host lives as long as one of them does, or is being started. */
  #keepAwake(): void {
    const channel = this.#child?.channel;
    if (this.#pending.size + this.#exits.size > 0) channel?.ref();
    else channel?.unref();
  }

  #over(child: ChildProcess): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#closed ||= !this.#ready;
    this.#ready = false;
    child.kill('SIGKILL');
    const pending = [...this.#pending.values()];
    const exits = [...this.#exits.values()];
    this.#pending.clear();
    this.#exits.clear();
    for (const { reject, pipes, pid } of pending) {
      // Started, but what it says will reach nobody.
      if (pid !== undefined) signalGroup(pid, 'SIGKILL');
      for (const pipe of Object.values(pipes)) pipe.destroy();
      reject(new HelperGone());
    }
    for (const tell of exits) tell(null, null);
  }
}

/** A helper that has not started a program after this, milliseconds, is taken for dead; usually it needs 10. */
const HANGS_MS = 5_000;

/** The helper ended, or was not there: the host can start the child by itself. */
export class HelperGone extends Error {
  constructor() {
    super('the helper that starts processes is gone');
  }
}

/**
 * What runs in the helper, as text: it needs no file, whatever bundles the package, and no compiler puts into it what is
 * not there (`__name`, counters of coverage). It tells what `Tidings` says, and ends with the host.
 */
const PROGRAM = `'use strict';
const { spawn } = require('node:child_process');
const tell = (tidings, pipe) => process.send(tidings, pipe, undefined, () => {});
process.title = 'mcp-troupe: starts servers';
process.on('disconnect', () => process.exit());
process.on('message', ({ number: order, command, args, options }) => {
  const failed = ({ message, code }) => tell({ order, failed: message, code });
  let child;
  try {
    child = spawn(command, args, { ...options, stdio: 'pipe' });
  } catch (error) {
    failed(error);
    return;
  }
  child.on('error', failed);
  const { pid } = child;
  if (pid === undefined) return;
  for (const pipe of ['stdin', 'stdout', 'stderr']) {
    // What it writes is for the host; Node has no public way to say so before the first bytes come.
    child[pipe]._handle.readStop();
    tell({ order, pipe, pid }, child[pipe]);
  }
  child.once('exit', (code, signal) => tell({ order, exit: [code, signal] }));
});
tell('ready');
`;
