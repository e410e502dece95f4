import { readFileSync } from 'node:fs';

/** How often the event loop is looked at, milliseconds. */
const LOOK_MS = 10;
/** Ten seconds of looks, if none of them is late. */
const REMEMBERED = 1_000;

export interface LoopLag {
  /** Longest time between two looks beyond what was asked for, milliseconds, whatever the reason. */
  readonly longest: number;
  /** The longest in which this process was at work; the rest of a gap the machine gave to others. */
  readonly longestOwn: number;
  /** Time since then that the machine gave to others while this process was due, milliseconds; remembers ten seconds. */
  stolenSince(at: number): number;
  stop(): void;
}

/** Processor time of the main thread and the time it waited for a processor, milliseconds; zeros of the second where nobody counts. */
function threadTimes(): { readonly ran: number; readonly waited: number } {
  try {
    const [ran = 0, waited = 0] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1')
      .split(' ')
      .map(Number);
    return { ran: ran / 1e6, waited: waited / 1e6 };
  } catch {
    const { user, system } = process.cpuUsage();
    return { ran: (user + system) / 1_000, waited: 0 };
  }
}

/**
 * The lag of the event loop, and which part of it is our own doing: a process that is blocked by its own work uses the
 * processor for all of the gap, one that merely was not scheduled does not.
 */
export function watchLoopLag(): LoopLag {
  let at = performance.now();
  let times = threadTimes();
  let longest = 0;
  let longestOwn = 0;
  /** What was stolen before each look, the latest last. */
  const looks: Array<{ readonly at: number; readonly stolen: number }> = [];
  let stolen = 0;
  const look = (): { gap: number; own: number; waited: number; now: ReturnType<typeof threadTimes> } => {
    const gap = Math.max(0, performance.now() - at - LOOK_MS);
    const now = threadTimes();
    return {
      gap,
      own: Math.min(gap, now.ran - times.ran),
      waited: Math.min(gap, now.waited - times.waited),
      now,
    };
  };
  const timer = setInterval(() => {
    const { gap, own, waited, now } = look();
    longest = Math.max(longest, gap);
    longestOwn = Math.max(longestOwn, own);
    stolen += waited;
    at = performance.now();
    times = now;
    looks.push({ at, stolen });
    if (looks.length > 2 * REMEMBERED) looks.splice(0, REMEMBERED);
  }, LOOK_MS);
  return {
    get longest() {
      return longest;
    },
    get longestOwn() {
      return longestOwn;
    },
    stolenSince(from) {
      let before = looks.length - 1;
      while (before > 0 && (looks[before]?.at ?? 0) > from) before -= 1;
      return stolen + look().waited - (looks[before]?.stolen ?? 0);
    },
    stop: () => clearInterval(timer),
  };
}

/** What reading a reply of `bytes` costs without anything around it, milliseconds: no client can block for less. */
export function bareReadMs(bytes: number): number {
  const line = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { text: 'x'.repeat(bytes) } }));
  const times = [1, 2, 3].map(() => {
    const started = threadTimes().ran;
    JSON.parse(line.toString('latin1'));
    return threadTimes().ran - started;
  });
  return Math.max(...times);
}
