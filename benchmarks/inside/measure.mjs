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

/** How long a figure is measured: `warm` runs that do not count, then `runs` that do, of `times` each. */
const SETTINGS = { times: 20_000, warm: 2, runs: 5 };

/** Nanoseconds of one `work`, which may be asynchronous: one figure per run. */
export async function nanoseconds(work, settings) {
  const { times, warm, runs } = { ...SETTINGS, ...settings };
  const found = [];
  for (let run = 0; run < warm + runs; run += 1) found.push(await meanOf(work, times));
  return found.slice(warm);
}

/** What `work` takes longer than `bare`, nanoseconds: one figure per pair of runs, one right after the other. */
export async function nanosecondsMore(work, bare, settings) {
  const { times, warm, runs } = { ...SETTINGS, ...settings };
  const found = [];
  for (let run = 0; run < warm + runs; run += 1) {
    const without = await meanOf(bare, times);
    found.push((await meanOf(work, times)) - without);
  }
  return found.slice(warm);
}

async function meanOf(work, times) {
  const from = performance.now();
  for (let i = 0; i < times; i += 1) await work(i);
  return ((performance.now() - from) * 1e6) / times;
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
