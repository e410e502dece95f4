import { readFile, readdir } from 'node:fs/promises';

/** Sends a signal to every process of a group. False when the group has none, or none that we may reach. */
export function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pgid, signal);
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether a group has a process that is not a zombie. Where nobody collects orphans (a host that is process 1 of a
 * container) its zombies stay for ever and still count as members for `kill`, so Linux is asked in more detail.
 */
export async function groupLives(pgid: number): Promise<boolean> {
  if (!signalGroup(pgid, 0)) return false;
  if (process.platform !== 'linux') return true;
  try {
    return (await lookAround()).has(pgid);
  } catch {
    return true;
  }
}

let looking: Promise<ReadonlySet<number>> | undefined;
let next: Promise<ReadonlySet<number>> | undefined;

/**
 * The groups that have somebody alive. All who ask while one look is under way share the next: when a fleet of a hundred
 * ends, /proc is read once for all. Never the one under way: it may have passed by already.
 */
function lookAround(): Promise<ReadonlySet<number>> {
  next ??= (async () => {
    await looking?.catch(() => {});
    looking = next;
    next = undefined;
    return liveGroups();
  })();
  return next;
}

async function liveGroups(): Promise<ReadonlySet<number>> {
  const groups = new Set<number>();
  for (const name of await readdir('/proc')) {
    const first = name.charCodeAt(0);
    if (first < 0x30 || first > 0x39) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(emptyIfGone);
    // pid (name) state ppid pgrp …; the name may hold anything, brackets too.
    const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ', 3);
    if (state !== 'Z' && state !== 'X') groups.add(Number(group));
  }
  return groups;
}

/** A process that ended meanwhile; whatever else keeps us from looking (no descriptor left) says nothing about it. */
function emptyIfGone(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT' || error.code === 'ESRCH') return '';
  throw error;
}
