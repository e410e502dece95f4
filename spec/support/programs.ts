import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Then it is killed, and the run fails. */
  readonly timeoutMs?: number | undefined;
}

/** Runs a program to its end, as a person would, and gives what it wrote. Rejects when it takes too long. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const timeoutMs = options.timeoutMs ?? 150_000;
  return new Promise((resolve, reject) => {
    // A group of its own: where it takes too long, what it started ends with it.
    const child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      env: { ...process.env, NODE_OPTIONS: undefined, FORCE_COLOR: undefined, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const text = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (data: string) => (text.stdout += data));
    child.stderr.setEncoding('utf8').on('data', (data: string) => (text.stderr += data));
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      reject(
        new Error(
          `${command} ${args.join(' ')} took longer than ${timeoutMs} ms; it wrote\n${text.stdout}\n${text.stderr}`,
        ),
      );
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, ...text });
    });
  });
}

/** A TypeScript program of this repository. */
export function runTypeScript(
  file: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Outcome> {
  return run(process.execPath, ['--import', 'tsx', file, ...args], options);
}
