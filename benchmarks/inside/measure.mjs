import { readFileSync } from 'node:fs';

/** Processor milliseconds of this process and the time beside it. */
export function stopwatch() {
  const from = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return { ms: performance.now() - from, cpuMs: (user + system) / 1_000 };
  };
}

/** Nanoseconds of one `work`, which may be asynchronous: the best of several runs, the first of which warm up. */
export async function nanoseconds(work, { times = 20_000, runs = 7 } = {}) {
  let best = Infinity;
  for (let run = 0; run < runs; run += 1) {
    const from = performance.now();
    for (let i = 0; i < times; i += 1) await work(i);
    best = Math.min(best, performance.now() - from);
  }
  return (best * 1e6) / times;
}

/** The longest time the event loop stood still while this thread was at work, milliseconds. */
export function watchStall() {
  let at = performance.now();
  let ran = threadMs();
  let longest = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    const ranNow = threadMs();
    longest = Math.max(longest, Math.min(now - at - 5, ranNow - ran));
    at = now;
    ran = ranNow;
  }, 5);
  return () => {
    clearInterval(timer);
    return Math.max(longest, Math.min(performance.now() - at - 5, threadMs() - ran));
  };
}

function threadMs() {
  try {
    return Number.parseInt(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1'), 10) / 1e6;
  } catch {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  }
}
