import { readFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';

/** How often the event loop is looked at, milliseconds. */
const LOOK_MS = 5;
/** Calls after which a loop that never waits lets the event loop turn. */
const CALLS_PER_TURN = 1_024;

const nextTurn = () => new Promise(setImmediate);

/** Milliseconds of garbage collection so far. */
let collected = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) collected += duration;
}).observe({ entryTypes: ['gc'] });

/**
 * A closed loop: `inFlight` loops, each of which waits for its answer before it asks again, for `ms` milliseconds. Every
 * `every`-th call is timed (a power of two), since reading the clock costs as much as the fastest call.
 */
export async function measure({ call, check, inFlight, ms, every, pid }) {
  const latencies = [];
  let calls = 0;
  let over = false;
  const stall = watchStall();
  await nextTurn();
  const gc = collected;
  const before = clocks(pid);
  const end = before.at + ms;
  const loop = async () => {
    while (!over) {
      calls += 1;
      if ((calls & (every - 1)) !== 0) await call();
      else {
        const from = performance.now();
        const result = await call();
        const to = performance.now();
        latencies.push(to - from);
        check(result);
        if (to >= end) over = true;
        if ((calls & (CALLS_PER_TURN - 1)) === 0) await nextTurn();
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  const after = clocks(pid);
  stall.stop();
  // The observer is told in a turn of its own.
  await nextTurn();
  await nextTurn();
  const elapsed = after.at - before.at;
  latencies.sort((a, b) => a - b);
  const own = after.own - before.own;
  return {
    inFlight,
    calls,
    perSecond: (calls / elapsed) * 1_000,
    p50Us: at(latencies, 0.5) * 1_000,
    p99Us: at(latencies, 0.99) * 1_000,
    cpuUs: (own * 1_000) / calls,
    gcShare: (collected - gc) / elapsed,
    stallMs: stall.longestOwn,
    foreign: Math.max(0, (after.machine - before.machine - own - (after.peer - before.peer)) / elapsed),
  };
}

/** Bytes allocated on the heap by one call: small batches between two collections, the median of them. */
export async function heapPerCall(call, { batches = 31, size = 256, inFlight = 16 } = {}) {
  const found = [];
  for (let batch = 0; batch < batches; batch += 1) {
    let left = size;
    const loop = async () => {
      while (left-- > 0) await call();
    };
    const before = process.memoryUsage().heapUsed;
    await Promise.all(Array.from({ length: inFlight }, loop));
    const grown = process.memoryUsage().heapUsed - before;
    // Less than nothing: it was collected in between.
    if (grown > 0) found.push(grown / size);
    await nextTurn();
  }
  found.sort((a, b) => a - b);
  return at(found, 0.5);
}

function at(sorted, q) {
  return sorted.length === 0 ? Number.NaN : sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

/** Processor milliseconds of this process, of the peer and of the whole machine. */
function clocks(pid) {
  const { user, system } = process.cpuUsage();
  return { at: performance.now(), own: (user + system) / 1_000, peer: cpuOf(pid), machine: machineCpu() };
}

/** One tick of the kernel's processor accounting, milliseconds (USER_HZ is 100 on Linux). */
const TICK_MS = 10;

function cpuOf(pid) {
  if (pid === undefined) return 0;
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return 0;
  }
}

function machineCpu() {
  try {
    const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1')
      .split('\n', 1)[0]
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return (user + nice + system + irq + softirq) * TICK_MS;
  } catch {
    return Number.NaN;
  }
}

/** The longest time the event loop stood still while this thread was at work, milliseconds. */
function watchStall() {
  let at = performance.now();
  let ran = threadTime();
  let longestOwn = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    const ranNow = threadTime();
    longestOwn = Math.max(longestOwn, Math.min(now - at - LOOK_MS, ranNow - ran));
    at = now;
    ran = ranNow;
  }, LOOK_MS);
  return {
    get longestOwn() {
      return longestOwn;
    },
    stop: () => clearInterval(timer),
  };
}

function threadTime() {
  try {
    return Number.parseInt(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1'), 10) / 1e6;
  } catch {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  }
}
