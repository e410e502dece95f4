import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { TroupeError, errorText } from '../core/errors.ts';

export interface FileLock {
  /** Gives the lock back; a lock that is no longer ours is left alone. Idempotent. */
  release(): void;
}

interface Holder {
  readonly pid: number;
  /** When the process started, as the system tells it; `null` where it does not. Tells a process from a later one with its pid. */
  readonly start: string | null;
  readonly token: string;
}

/** A crash while a stale lock was being taken over leaves a claim; one of these may itself be stale, and so on. */
const MAX_DEPTH = 3;

/**
 * Takes `path` as a lock file for this process: pid, start time and a random token. A lock whose process is gone is
 * taken over, by exactly one of those who try. Throws `config_invalid` where another holds it. For one machine: a lock
 * on a shared volume says nothing about processes of another.
 */
export function acquireFileLock(path: string): FileLock {
  return acquire(path, 0);
}

function acquire(path: string, depth: number): FileLock {
  const mine: Holder = { pid: process.pid, start: startOf(process.pid), token: randomUUID() };
  const text = JSON.stringify(mine);
  for (;;) {
    if (place(path, text)) break;
    const held = holderOf(path);
    if (held === undefined) continue;
    if (depth === MAX_DEPTH || isAlive(held)) throw taken(path, held);
    if (takeOver(path, held, text, depth)) break;
  }
  return {
    release: () => {
      if (readOr(path) === text) unlinkQuietly(path);
    },
  };
}

/** Puts the lock down in one step, so that nobody ever reads half of one. */
function place(path: string, text: string): boolean {
  const draft = `${path}.${randomUUID()}`;
  try {
    writeFileSync(draft, text, { flag: 'wx', mode: 0o600 });
    linkSync(draft, path);
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST') return false;
    if (LINKLESS.has(code)) return placePlainly(path, text);
    throw new TroupeError('config_invalid', `cannot lock "${path}": ${errorText(error)}`, { cause: error });
  } finally {
    unlinkQuietly(draft);
  }
}

/** File systems without hard links: FAT, some network shares. */
const LINKLESS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

function placePlainly(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw new TroupeError('config_invalid', `cannot lock "${path}": ${errorText(error)}`, { cause: error });
  }
}

/**
 * Replaces a stale lock. The claim is named after the token of the stale one and is a lock itself, so only one process
 * can be at it, and whoever comes later finds another token and looks again.
 */
function takeOver(path: string, stale: Holder, text: string, depth: number): boolean {
  const claim = acquire(`${path}.${stale.token}`, depth + 1);
  try {
    if (holderOf(path)?.token !== stale.token) return false;
    const draft = `${path}.${randomUUID()}`;
    writeFileSync(draft, text, { flag: 'wx', mode: 0o600 });
    renameSync(draft, path);
    return true;
  } finally {
    claim.release();
  }
}

/** `undefined` when the lock has gone meanwhile. */
function holderOf(path: string): Holder | undefined {
  const text = readOr(path);
  if (text === undefined) return undefined;
  try {
    const { pid, start, token } = JSON.parse(text) as Partial<Holder>;
    if (Number.isInteger(pid) && typeof token === 'string' && /^[\w-]{1,64}$/.test(token)) {
      return { pid: pid as number, start: start ?? null, token };
    }
  } catch {
    // Not ours, or damaged: falls through.
  }
  throw new TroupeError(
    'config_invalid',
    `"${path}" is not a lock of ours; remove it if nothing uses what it locks`,
  );
}

function isAlive({ pid, start }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false;
  }
  const now = statOf(pid);
  if (now === undefined) return true;
  return now.state !== 'Z' && now.state !== 'X' && (start === null || now.start === start);
}

function startOf(pid: number): string | null {
  return statOf(pid)?.start ?? null;
}

/** State, and boot id with start time in clock ticks since boot (proc(5), fields 3 and 22), where there is a /proc. */
function statOf(pid: number): { readonly state: string; readonly start: string } | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, ticks] = [fields[0], fields[19]];
    return state === undefined || ticks === undefined ? undefined : { state, start: `${boot}:${ticks}` };
  } catch {
    return undefined;
  }
}

function taken(path: string, held: Holder): TroupeError {
  const who = held.pid === process.pid ? 'this process' : `process ${held.pid}`;
  return new TroupeError(
    'config_invalid',
    `"${path}" is held by ${who}: only one engine may use the file; give each its own, or remove the lock if that process is no engine`,
    { data: { reason: 'locked', pid: held.pid } },
  );
}

function readOr(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new TroupeError('config_invalid', `cannot read the lock "${path}": ${errorText(error)}`, {
      cause: error,
    });
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already, or not ours to remove.
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | null)?.code ?? '';
}
