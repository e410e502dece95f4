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
  /** All the lag since then, milliseconds; remembers ten seconds. Nothing that runs on this loop can be earlier. */
  since(at: number): number;
  /** Work of the soak itself that blocks the loop, a forced collection for example: no lag of the engine. */
  aside(work: () => void): void;
  stop(): void;
}

/** Processor time of the main thread, milliseconds; of the whole process where it is not told by thread. */
function threadTime(): number {
  try {
    return Number.parseInt(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1'), 10) / 1e6;
  } catch {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  }
}

/**
 * The lag of the event loop, and which part of it is our own doing: a process that is blocked by its own work uses the
 * processor for all of the gap, one that merely was not scheduled does not.
 */
export function watchLoopLag(): LoopLag {
  let at = performance.now();
  let ran = threadTime();
  let longest = 0;
  let longestOwn = 0;
  let sum = 0;
  /** The sum at each look, the latest last. */
  const looks: Array<{ readonly at: number; readonly sum: number }> = [];
  const gapNow = (): number => Math.max(0, performance.now() - at - LOOK_MS);
  const timer = setInterval(() => {
    const gap = gapNow();
    const ranNow = threadTime();
    longest = Math.max(longest, gap);
    longestOwn = Math.max(longestOwn, Math.min(gap, ranNow - ran));
    sum += gap;
    at = performance.now();
    ran = ranNow;
    looks.push({ at, sum });
    if (looks.length > 2 * REMEMBERED) looks.splice(0, REMEMBERED);
  }, LOOK_MS);
  return {
    get longest() {
      return longest;
    },
    get longestOwn() {
      return longestOwn;
    },
    since(from) {
      let before = looks.length - 1;
      while (before > 0 && (looks[before]?.at ?? 0) > from) before -= 1;
      return sum + gapNow() - (looks[before]?.sum ?? 0);
    },
    aside(work) {
      const began = performance.now();
      const ranBefore = threadTime();
      work();
      const took = performance.now() - began;
      // It counts for what could not run meanwhile, and for nobody's work.
      sum += took;
      at += took;
      ran += threadTime() - ranBefore;
    },
    stop: () => clearInterval(timer),
  };
}

/** What reading a reply of `bytes` costs without anything around it, milliseconds: no client can block for less. */
export function bareReadMs(bytes: number): number {
  const line = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { text: 'x'.repeat(bytes) } }));
  const times = [1, 2, 3].map(() => {
    const started = threadTime();
    JSON.parse(line.toString('latin1'));
    return threadTime() - started;
  });
  return Math.max(...times);
}
