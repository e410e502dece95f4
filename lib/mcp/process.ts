import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';

/** What to start. Never given to a shell: shell characters reach the program as they are. */
export interface LaunchSpec {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited beside it. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  /** Named in errors. */
  readonly server: string;
  /** Last bytes of stderr kept. */
  readonly stderrTailBytes: number;
  /** From the end of stdin to SIGTERM, and from there to SIGKILL, milliseconds. */
  readonly eofMs: number;
  readonly sigtermMs: number;
  readonly clock: Clock;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A child process with its whole process group. */
export interface LaunchedProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves when the process itself is gone, whoever still holds its pipes. */
  readonly exited: Promise<ProcessExit>;
  /** What it said last on stderr. */
  stderrTail(): string;
  /** End of stdin → SIGTERM → SIGKILL, each to the whole group and only if needed; leftovers of the group are killed. Idempotent. */
  stop(): Promise<ProcessExit>;
}

/** Starts child processes. A port, so that specs and other hosts may start them their way. */
export interface Launcher {
  /** Resolves when the process exists; rejects with `unavailable`, naming the command and what is wrong with it. */
  launch(spec: LaunchSpec): Promise<LaunchedProcess>;
}

const POSIX = process.platform !== 'win32';

export function createLauncher(): Launcher {
  return {
    launch: (spec) =>
      new Promise((resolve, reject) => {
        if (spec.cwd !== undefined && !existsSync(spec.cwd)) {
          reject(refused(spec, `its working directory ${spec.cwd} does not exist`));
          return;
        }
        let child: ChildProcess;
        try {
          child = spawn(spec.command, spec.args, {
            env: spec.env,
            ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
            stdio: ['pipe', 'pipe', 'pipe'],
            shell: false,
            windowsHide: true,
            // A group of its own, so that all of it can be ended, grandchildren included.
            detached: POSIX,
          });
        } catch (error) {
          reject(refused(spec, (error as Error).message, error));
          return;
        }
        child.once('error', (error: NodeJS.ErrnoException) => reject(refused(spec, meaning(error), error)));
        child.once('spawn', () => resolve(new ChildProcessGroup(child, spec)));
      }),
  };
}

/** Processor time that a process has used, in milliseconds; undefined where the system does not say (not Linux). */
export function cpuTimeMs(pid: number): number | undefined {
  try {
    // Fields after the command, which may hold spaces and parentheses: utime and stime are the 12th and 13th.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return undefined;
  }
}

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10;

class ChildProcessGroup implements LaunchedProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly exited: Promise<ProcessExit>;
  readonly #spec: LaunchSpec;
  #stderr = Buffer.alloc(0);
  #gone = false;
  #stopping: Promise<ProcessExit> | undefined;

  constructor(child: ChildProcess, spec: LaunchSpec) {
    const { stdin, stdout, stderr, pid } = child;
    if (stdin === null || stdout === null || stderr === null || pid === undefined) {
      throw new TroupeError('internal', 'a process without pipes', { server: spec.server });
    }
    this.pid = pid;
    this.stdin = stdin;
    this.stdout = stdout;
    this.#spec = spec;
    // Always read, or a talkative server blocks; kept only in part.
    stderr.on('data', (chunk: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, chunk]).subarray(-spec.stderrTailBytes);
    });
    stderr.on('error', () => {});
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#gone = true;
        resolve({ code, signal });
      });
    });
    alive.add(this);
    void this.exited.then(() => this.#killLeftovers());
  }

  stderrTail(): string {
    return this.#stderr.toString('utf8').trim();
  }

  stop(): Promise<ProcessExit> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<ProcessExit> {
    const { eofMs, sigtermMs } = this.#spec;
    if (!this.#gone) {
      this.stdin.end();
      if (!(await this.#exitsWithin(eofMs))) {
        this.signal('SIGTERM');
        if (!(await this.#exitsWithin(sigtermMs))) this.signal('SIGKILL');
      }
    }
    const exit = await this.exited;
    this.#killLeftovers();
    return exit;
  }

  /** Sends a signal to the whole group. */
  signal(signal: NodeJS.Signals): void {
    try {
      // On Windows there are no groups; ending the tree there takes `taskkill /T /F`.
      if (POSIX) process.kill(-this.pid, signal);
      else spawn('taskkill', ['/PID', String(this.pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).once('error', () => {});
    } catch {
      // Nobody left in the group.
    }
  }

  #killLeftovers(): void {
    if (POSIX) this.signal('SIGKILL');
    alive.delete(this);
    this.stdin.destroy();
  }

  #exitsWithin(ms: number): Promise<boolean> {
    if (this.#gone) return Promise.resolve(true);
    return new Promise((resolve) => {
      const disarm = this.#spec.clock.after(ms, () => resolve(false));
      void this.exited.then(() => {
        disarm();
        resolve(true);
      });
    });
  }
}

/** Groups that must not survive this process; one exit listener serves all and is there only while there are some. */
const alive = new (class {
  readonly #groups = new Set<ChildProcessGroup>();

  add(group: ChildProcessGroup): void {
    if (this.#groups.size === 0) process.on('exit', this.#onExit);
    this.#groups.add(group);
  }

  delete(group: ChildProcessGroup): void {
    if (this.#groups.delete(group) && this.#groups.size === 0) process.off('exit', this.#onExit);
  }

  readonly #onExit = (): void => {
    for (const group of this.#groups) group.signal('SIGKILL');
  };
})();

function meaning(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return 'there is no such program (is it installed, and on the PATH given to it?)';
    case 'EACCES':
      return 'it may not be executed';
    case 'EINVAL':
      return 'it cannot be started without a shell; on Windows start a .cmd file through "cmd" with args ["/c", …]';
    default:
      return error.message;
  }
}

function refused(spec: LaunchSpec, why: string, cause?: unknown): TroupeError {
  return new TroupeError('unavailable', `"${spec.command}" could not be started: ${why}`, {
    server: spec.server,
    data: { command: spec.command, code: (cause as NodeJS.ErrnoException | undefined)?.code },
    cause,
  });
}
