import { spawn, spawnSync, type SpawnOptions } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { createClock, type Clock } from '../core/clock.ts';
import { TroupeError, errorText, isTroupeError } from '../core/errors.ts';
import { groupLives, signalGroup } from './process-group.ts';
import { HelperGone, SpawnHelper, type SpawnOrder, type StartedChild } from './spawn-helper.ts';
import { StderrTail } from './stderr-tail.ts';
import { windowsCommand } from './windows-command.ts';

/** What to start. Never given to a shell: shell characters reach the program as they are. */
export interface LaunchSpec {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited beside it. */
  readonly env: Readonly<Record<string, string>>;
  /** Default: the working directory of the host. */
  readonly cwd: string | undefined;
  /** Named in errors. */
  readonly server: string;
  /** Last bytes of stderr kept. */
  readonly stderrTailBytes: number;
  /** From the end of stdin to SIGTERM, and from there to SIGKILL, milliseconds: the ladder of `stop`. */
  readonly eofMs: number;
  readonly sigtermMs: number;
  readonly clock: Pick<Clock, 'now' | 'after'>;
}

/** How a process ended. Both are null where that could not be seen. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** Steps of the end of a process, milliseconds; each is taken only when the one before did not do. */
export interface Ladder {
  readonly eofMs: number;
  readonly sigtermMs: number;
}

/** A child process with its whole process group. */
export interface LaunchedProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when the process itself is gone, whoever still holds its pipes. What it wrote last may still be in them. */
  readonly exited: Promise<ProcessExit>;
  readonly exit: ProcessExit | undefined;
  /** What it said last on stderr, which is read all the time. */
  stderrTail(): string;
  /** Hears all of stderr from now on; one listener at a time. It must not throw. */
  listenToStderr(listener: ((chunk: Buffer) => void) | undefined): void;
  /** Lets it know that nothing follows: the polite way to end it. */
  endInput(): void;
  /**
   * End of stdin → SIGTERM → SIGKILL, the signals to the whole group. Resolves when no process of the group is left and
   * its pipes are closed. A process that ended by itself has been followed by its group at once. Idempotent; called
   * again with less time, it becomes faster. Beyond reach is what left the group (`setsid`, a daemon).
   */
  terminate(ladder: Ladder): Promise<ProcessExit>;
  /** `terminate` with the times of the specification. */
  stop(): Promise<ProcessExit>;
}

/** Starts child processes. A port, so that specs and other hosts may start them their way. */
export interface Launcher {
  /** Resolves when the process exists; rejects with `unavailable`, naming the command and what is wrong with it. */
  launch(spec: LaunchSpec): Promise<LaunchedProcess>;
  /** Ends the helper, if there is one, for good: what is launched from now on the host starts itself. Idempotent. */
  close(): Promise<void>;
}

export interface LauncherOptions {
  /**
   * Resident memory of this process, bytes, from which on those that follow a child that ended by itself are started by a
   * helper (`spawn-helper.ts`), on Linux. Default: never.
   */
  readonly helperAboveBytes?: number;
  readonly clock?: Pick<Clock, 'after'>;
}

/** SIGKILL works at once unless the kernel is in the way (a dead network file system); nobody waits for that. */
const KILL_WAIT_MS = 2_000;
/** How often the rest of a group is looked for once its leader is gone: from … to. */
const FIRST_LOOK_MS = 5;
const LAST_LOOK_MS = 100;
/** What was written before the end is read within a turn; who left the group may hold the pipe open for ever. */
const PIPE_WAIT_MS = 50;

const WINDOWS = process.platform === 'win32';

/**
 * The only place where processes are started. On POSIX each leads a process group of its own, so that what it starts
 * can be ended with it; a Ctrl-C in the terminal of the host does not reach it, the end of its stdin does. On Windows
 * `taskkill /T /F` stands for both signals, and what a leader that has exited left behind cannot be found.
 */
export function createLauncher({
  helperAboveBytes = Infinity,
  clock = createClock(),
}: LauncherOptions = {}): Launcher {
  const helper = new SpawnHelper(startHelper, clock);
  // Where one died, others follow, and itself again.
  const onLost = (): void => {
    if (canHelp && isLarger(helperAboveBytes)) helper.warm();
  };
  return {
    async launch(spec) {
      try {
        return new Child(await start(spec, helper), spec, onLost);
      } catch (error) {
        throw isTroupeError(error) ? error : await whyNot(spec, error);
      }
    },
    close: () => helper.close(),
  };
}

/**
 * Other systems start children without copying the parent. And where Node is part of an application (one file, Electron),
 * its program may be the application, which would start once more.
 */
const canHelp = process.platform === 'linux' && /^node(js)?[\d.]*$/.test(basename(process.execPath));

function isLarger(bytes: number): boolean {
  if (bytes === Infinity) return false;
  try {
    return process.memoryUsage.rss() >= bytes;
  } catch {
    // No descriptor is left to look it up.
    return false;
  }
}

async function start(spec: LaunchSpec, helper: SpawnHelper): Promise<StartedChild> {
  const { command, args, env, cwd } = spec;
  const run = WINDOWS
    ? windowsCommand(command, args, { env, cwd: cwd ?? process.cwd(), isFile, server: spec.server })
    : { command, args, verbatim: false };
  const order: SpawnOrder = {
    command: run.command,
    args: run.args,
    options: {
      ...(cwd === undefined ? {} : { cwd }),
      env,
      shell: false,
      // On Windows this would open a console window, and there are no process groups to lead.
      detached: !WINDOWS,
      windowsHide: true,
      windowsVerbatimArguments: run.verbatim,
    },
  };
  if (!helper.ready) return startHere(order);
  try {
    // The helper stands in another folder.
    return await helper.start({ ...order, options: { cwd: process.cwd(), ...order.options } });
  } catch (error) {
    // Our own folder may be gone: a child can be started in it all the same, but only from here.
    if (error instanceof HelperGone || cwd === undefined) return startHere(order);
    throw error;
  }
}

function startHere({ command, args, options }: SpawnOrder): Promise<StartedChild> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: 'pipe' });
    child.on('error', reject);
    child.once('spawn', () => {
      const { pid, stdin, stdout, stderr } = child;
      if (pid === undefined) reject(new Error('a process without an id'));
      else
        resolve({
          pid,
          stdin: stdin as Socket,
          stdout: stdout as Socket,
          stderr: stderr as Socket,
          onExit: (listener) => void child.once('exit', listener),
        });
    });
  });
}

/** Not in the group of the host: a Ctrl-C must leave it as long as the host cleans up. It needs no environment. */
const HELPER: SpawnOptions = {
  cwd: '/',
  env: {},
  detached: true,
  stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
};

function startHelper(text: string): ReturnType<typeof spawn> {
  return spawn(process.execPath, ['-e', text], HELPER);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

async function whyNot({ command, cwd, env, server }: LaunchSpec, cause: unknown): Promise<TroupeError> {
  const code = (cause as { code?: unknown } | null)?.code;
  const path = Object.keys(env).find((name) => name.toUpperCase() === 'PATH');
  const folder = cwd === undefined ? undefined : await stat(cwd).catch(() => undefined);
  let why = errorText(cause);
  // Node reports a missing working directory as a missing command.
  if (cwd !== undefined && folder?.isDirectory() !== true) {
    why = `its working directory ${cwd} ${folder === undefined ? 'does not exist' : 'is not a directory'}`;
  } else if (code === 'ENOENT') {
    why = /[\\/]/.test(command)
      ? 'there is no such file, or the interpreter that it names is missing'
      : `there is no such program on the PATH given to it (${path === undefined ? 'none' : env[path]})`;
  } else if (code === 'EACCES') why = 'it may not be executed';
  return new TroupeError('unavailable', `"${command}" could not be started: ${why}`, {
    server,
    data: { command, ...(typeof code === 'string' ? { code } : {}) },
    cause,
  });
}

/** Processor time that a process has used, in milliseconds; undefined where the system does not say (not Linux). */
export function cpuTimeMs(pid: number): number | undefined {
  try {
    // Fields after the command, which may hold spaces and parentheses: utime and stime are the 12th and 13th.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return undefined;
  }
}

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10;

class Child implements LaunchedProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly exited: Promise<ProcessExit>;
  readonly #child: StartedChild;
  readonly #spec: LaunchSpec;
  readonly #stderr: StderrTail;
  #exit: ProcessExit | undefined;
  #ending: Promise<ProcessExit> | undefined;
  #termAt = Infinity;
  #killAt = Infinity;
  #wake: (() => void) | undefined;

  /** @param onLost told when it ended though nobody asked */
  constructor(child: StartedChild, spec: LaunchSpec, onLost: () => void) {
    const { stdin, stdout, stderr, pid } = child;
    this.pid = pid;
    this.stdin = stdin;
    this.stdout = stdout;
    this.#child = child;
    this.#spec = spec;
    const tail = new StderrTail(spec.stderrTailBytes);
    this.#stderr = tail;
    // An error event that nobody hears would end the host. Whoever reads and writes adds listeners of its own.
    for (const emitter of [stdin, stdout, stderr]) emitter.on('error', () => {});
    // Always read, or a talkative server blocks.
    stderr.on('data', (chunk: Buffer) => tail.write(chunk));
    alive.add(this);
    this.exited = new Promise((resolve) => {
      child.onExit((code, signal) => {
        this.#exit = { code, signal };
        // Nobody asked for its end: what it leaves behind serves nobody. Else the ladder goes on with the rest.
        if (this.#ending === undefined) {
          if (!WINDOWS) this.kill();
          alive.delete(this);
          onLost();
        }
        resolve(this.#exit);
        this.#wake?.();
      });
    });
  }

  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  stderrTail(): string {
    return this.#stderr.text();
  }

  listenToStderr(listener: ((chunk: Buffer) => void) | undefined): void {
    this.#stderr.listen(listener);
  }

  endInput(): void {
    if (!this.stdin.writableEnded && !this.stdin.destroyed) this.stdin.end();
  }

  stop(): Promise<ProcessExit> {
    return this.terminate(this.#spec);
  }

  terminate({ eofMs, sigtermMs }: Ladder): Promise<ProcessExit> {
    const now = this.#spec.clock.now();
    const diedItself = this.#exit !== undefined && this.#ending === undefined;
    this.#termAt = Math.min(this.#termAt, diedItself ? now : now + eofMs);
    this.#killAt = Math.min(this.#killAt, diedItself ? now : now + eofMs + sigtermMs);
    this.endInput();
    if (this.#ending === undefined) this.#ending = this.#climb();
    else this.#wake?.();
    return this.#ending;
  }

  /** Ends the whole group without waiting for anything. */
  kill(): void {
    if (WINDOWS) killTree(this.pid);
    else signalGroup(this.pid, 'SIGKILL');
  }

  async #climb(): Promise<ProcessExit> {
    const { clock } = this.#spec;
    let look = FIRST_LOOK_MS;
    let asked = false;
    // From the first SIGKILL on, not from when it was due: a host that was stalled, or that looked around for long on a
    // busy machine, must not give up on what it has never killed.
    let giveUpAt = Infinity;
    while (!(await this.#isGone())) {
      const now = clock.now();
      if (now >= giveUpAt) break;
      if (now >= this.#killAt) {
        this.kill();
        giveUpAt = Math.min(giveUpAt, now + KILL_WAIT_MS);
      } else if (now >= this.#termAt && !asked) {
        asked = true;
        this.#ask();
      }
      const next = giveUpAt !== Infinity ? giveUpAt : asked ? this.#killAt : this.#termAt;
      if (this.#exit === undefined) await this.#pause(next - now);
      else {
        await this.#pause(Math.min(next - now, look));
        look = Math.min(look * 2, LAST_LOOK_MS);
      }
    }
    alive.delete(this);
    await this.#closePipes();
    return this.#exit ?? { code: null, signal: null };
  }

  async #isGone(): Promise<boolean> {
    if (this.#exit === undefined) return false;
    if (WINDOWS) return true;
    if (await groupLives(this.pid)) return false;
    // Looking takes a while: who was born meanwhile of one that then ended has been seen by nobody.
    signalGroup(this.pid, 'SIGKILL');
    return true;
  }

  /** The end of stdin did not do; it may not have got there, behind what was never read. */
  #ask(): void {
    this.stdin.destroy();
    if (WINDOWS) killTree(this.pid);
    else signalGroup(this.pid, 'SIGTERM');
  }

  /** Until the time has passed, the process exits, or the ladder is made shorter. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const disarm = this.#spec.clock.after(Math.max(1, ms), () => this.#wake?.());
      this.#wake = () => {
        this.#wake = undefined;
        disarm();
        resolve();
      };
    });
  }

  async #closePipes(): Promise<void> {
    const { stdin, stdout, stderr } = this.#child;
    stdin.destroy();
    const open = [stdout, stderr].filter((pipe) => !pipe.closed);
    if (open.length === 0) return;
    await new Promise<void>((resolve) => {
      let left = open.length;
      const disarm = this.#spec.clock.after(PIPE_WAIT_MS, () => {
        for (const pipe of open) pipe.destroy();
      });
      for (const pipe of open) {
        pipe.once('close', () => {
          left -= 1;
          if (left > 0) return;
          disarm();
          resolve();
        });
      }
    });
  }
}

function killTree(pid: number): void {
  spawnSync('taskkill', ['/pid', String(pid), '/T', '/F'], { windowsHide: true, timeout: KILL_WAIT_MS });
}

/**
 * Groups that must not survive this process: one exit listener serves all and is there only while there are some.
 * Nothing can be done when the host is killed by SIGKILL; then those end that honour the end of their stdin.
 */
const alive = new (class {
  readonly #children = new Set<Child>();
  readonly #onExit = (): void => {
    for (const child of this.#children) child.kill();
  };

  add(child: Child): void {
    if (this.#children.size === 0) process.on('exit', this.#onExit);
    this.#children.add(child);
  }

  delete(child: Child): void {
    if (this.#children.delete(child) && this.#children.size === 0) process.off('exit', this.#onExit);
  }
})();
