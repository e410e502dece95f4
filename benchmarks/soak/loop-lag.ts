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

/**
 * The lag of the event loop, and which part of it is our own doing: a process that is blocked by its own work uses the
 * processor for all of the gap, one that merely was not scheduled does not.
 */
export function watchLoopLag(): LoopLag {
  let at = performance.now();
  let used = process.cpuUsage();
  let longest = 0;
  let longestOwn = 0;
  /** What was stolen before each look, the latest last. */
  const looks: Array<{ readonly at: number; readonly stolen: number }> = [];
  let stolen = 0;
  const look = (): { gap: number; own: number } => {
    const gap = Math.max(0, performance.now() - at - LOOK_MS);
    if (gap === 0) return { gap, own: 0 };
    const now = process.cpuUsage();
    return { gap, own: Math.min(gap, (now.user + now.system - used.user - used.system) / 1_000) };
  };
  const timer = setInterval(() => {
    const { gap, own } = look();
    longest = Math.max(longest, gap);
    longestOwn = Math.max(longestOwn, own);
    stolen += gap - own;
    at = performance.now();
    looks.push({ at, stolen });
    if (looks.length > 2 * REMEMBERED) looks.splice(0, REMEMBERED);
    used = process.cpuUsage();
  }, LOOK_MS);
  return {
    get longest() {
      return longest;
    },
    get longestOwn() {
      return longestOwn;
    },
    stolenSince(from) {
      const { gap, own } = look();
      let before = looks.length - 1;
      while (before > 0 && (looks[before]?.at ?? 0) > from) before -= 1;
      return stolen + gap - own - (looks[before]?.stolen ?? 0);
    },
    stop: () => clearInterval(timer),
  };
}
