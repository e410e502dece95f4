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
  readonly #clock: Pick<Clock, 'after'>;
  readonly #pending = new Map<number, Pending>();
  readonly #exits = new Map<number, (code: number | null, signal: string | null) => void>();
  #child: ChildProcess | undefined;
  /** `leaving`: gets no more orders, and ends with the last that it has started. */
  #state: 'none' | 'starting' | 'ready' | 'leaving' = 'none';
  #orders = 0;
  /** Closed, or it could not even start: no other is tried. */
  #closed = false;

  /** @param spawn starts this program text in a process of its own, with a channel to it */
  constructor(spawn: (program: string) => ChildProcess, clock: Pick<Clock, 'after'>) {
    this.#spawn = spawn;
    this.#clock = clock;
  }

  /** Whether it could start one now. */
  get ready(): boolean {
    return this.#state === 'ready';
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
    this.#state = 'starting';
    // One that never says that it is ready is another program than it was taken for.
    const disarm = this.#clock.after(HANGS_MS, over, { unref: true });
    child.on('error', over);
    child.once('exit', over);
    child.once('disconnect', over);
    child.on('message', (tidings: 'ready' | Tidings, socket) => {
      if (tidings !== 'ready') this.#hear(tidings, socket as Socket | undefined);
      else if (this.#child === child) {
        disarm();
        this.#state = 'ready';
      }
    });
    // It serves the host and must not keep it alive.
    child.unref();
    child.channel?.unref();
  }

  /** Rejects with what Node says when it cannot start the program, or with `HelperGone`: also for a helper that hangs. */
  start(order: SpawnOrder): Promise<StartedChild> {
    return new Promise((resolve, reject) => {
      const child = this.#child;
      if (child === undefined || !this.ready) {
        reject(new HelperGone());
        return;
      }
      const number = (this.#orders += 1);
      const disarm = this.#clock.after(HANGS_MS, () => this.#giveUp(number));
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

  /**
   * Ends the helper; resolves when it is gone, or after two seconds: SIGKILL works at once unless the kernel is in the way.
   * What it started lives on, but nobody hears of its end. Idempotent.
   */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    child.ref();
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      let disarm = (): void => {};
      const late = new Promise<void>((resolve) => {
        disarm = this.#clock.after(CLOSE_MS, resolve);
      });
      await Promise.race([gone, late]);
      disarm();
    }
    child.unref();
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
      if (pending === undefined) {
        // Given up: the host has started another in its place.
        if ('pid' in tidings) signalGroup(tidings.pid, 'SIGKILL');
        socket?.destroy();
      } else if ('failed' in tidings) {
        this.#pending.delete(order);
        pending.reject(Object.assign(new Error(tidings.failed), { code: tidings.code }));
      } else {
        pending.pid = tidings.pid;
        if (socket === undefined) this.#drop(order, pending);
        else this.#take(order, pending, tidings.pipe, socket);
      }
    }
    this.#keepAwake();
    this.#retire();
  }

  #take(order: number, pending: Pending, pipe: PipeName, socket: Socket): void {
    // A socket reads too: that nothing comes from there any more says nothing of the other direction.
    if (pipe === 'stdin') socket.resume().allowHalfOpen = true;
    pending.pipes[pipe] = socket;
    const { resolve, pipes, pid } = pending;
    const { stdin, stdout, stderr } = pipes;
    if (pid === undefined || stdin === undefined || stdout === undefined || stderr === undefined) return;
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

  /** Started or not, what it says will reach nobody. */
  #drop(order: number, { reject, pipes, pid }: Pending): void {
    this.#pending.delete(order);
    if (pid !== undefined) signalGroup(pid, 'SIGKILL');
    for (const pipe of Object.values(pipes)) pipe.destroy();
    reject(new HelperGone());
  }

  /**
   * It is held up, by a file system that does not answer for example. It gets no more orders, but what it has started runs
   * well and is not ended for that.
   */
  #giveUp(order: number): void {
    this.#state = 'leaving';
    const pending = this.#pending.get(order);
    if (pending !== undefined) this.#drop(order, pending);
    this.#keepAwake();
    this.#retire();
  }

  #retire(): void {
    const child = this.#child;
    if (child !== undefined && this.#state === 'leaving' && this.#pending.size + this.#exits.size === 0)
      this.#over(child);
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
    this.#closed ||= this.#state === 'starting';
    this.#state = 'none';
    child.kill('SIGKILL');
    const exits = [...this.#exits.values()];
    this.#exits.clear();
    for (const [order, pending] of this.#pending) this.#drop(order, pending);
    for (const tell of exits) tell(null, null);
  }
}

/** A helper that has not started a program after this, milliseconds, is taken for dead; usually it needs 10. */
const HANGS_MS = 5_000;
const CLOSE_MS = 2_000;

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
  const { pid, stdin, stdout, stderr } = child;
  if (pid === undefined) return;
  // They are the host's, though they may have to wait for their turn on the channel: the end of the child must not close or
  // read them here.
  child.stdin = child.stdout = child.stderr = null;
  child.stdio.fill(null);
  for (const [pipe, socket] of Object.entries({ stdin, stdout, stderr })) {
    // Node has no public way to say so before the first bytes come.
    socket._handle.readStop();
    tell({ order, pipe, pid }, socket);
  }
  child.once('exit', (code, signal) => tell({ order, exit: [code, signal] }));
});
tell('ready');
`;
