import { randomUUID } from 'node:crypto';
import {
  CONNECTION_TRANSITIONS,
  PROCESS_TRANSITIONS,
  createEngine,
  type Engine,
  type Random,
  type ServerConfig,
} from '../../lib/index.ts';
import { atLeast, atMost, none, type Check } from './checks.ts';
import type { Control } from './control.ts';
import { createFaultPlan, type FaultTransport } from './faults.ts';
import { httpServers, revisionOf, stdioServer } from './fleet.ts';
import { watchHeap } from './heap.ts';
import { injectFaults, pause } from './injector.ts';
import { Ledger, type Phase, type Target } from './ledger.ts';
import { held, leftSince, processesWith } from './leftovers.ts';
import { bareReadMs, watchLoopLag } from './loop-lag.ts';

export interface FaultSoakOptions {
  readonly control: Control;
  readonly random: Random;
  readonly log: string;
  readonly stdio: number;
  readonly http: number;
  readonly callsPerSecond: number;
  /** How long servers go wrong; longer, if some kind of fault was seen too rarely. */
  readonly seconds: number;
  readonly quietSeconds: number;
  readonly leastFaults: number;
  /** Floors of time are multiplied by it; those that count never are. */
  readonly allowance: number;
  /** Between two faults of a server, on average, milliseconds. */
  readonly restMs: number;
  /** Whether the run is long enough to tell a leak from warming up. */
  readonly long: boolean;
  readonly tell: (text: string) => void;
}

export interface FaultSoakResult {
  readonly checks: readonly Check[];
  readonly faults: Readonly<Record<string, number>>;
  readonly calls: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly figures: Readonly<Record<string, number>>;
}

/** Shorter than the defaults, so that a minute holds many restarts and many turns of each breaker. */
const RESTART = { baseMs: 200, capMs: 2_000, periodMs: 2_000, intensity: Infinity } as const;
const BREAKER = { openMs: 500, openMaxMs: 2_000 } as const;
/** A server that lives but will never answer again (its stdout is closed, a child of it holds the pipe) is found by this. */
const PROBE = { intervalMs: 1_000, timeoutMs: 500, failures: 2 } as const;
/** Longest backoff, its jitter of 20 % included. */
const MAX_BACKOFF_MS = RESTART.capMs * 1.2;
const HEALTHY_TIMEOUT_MS = 5_000;
const FAULTY_TIMEOUT_MS = 1_000;
const GRACE_MS = 2_000;
/** A kind of fault that does not want to happen ends the wait for it, milliseconds beyond the time of the soak. */
const OVERTIME_MS = 90_000;
/** The largest reply among the faults: reading it is one piece of work, whoever reads it. */
const BIG_REPLY_BYTES = 12 * 1_048_576;
const HEAP_EVERY_MS = 5_000;
/** Longest block of the event loop, milliseconds (`reliability.md` §5.2). */
const LAG_MS = 100;

export async function faultSoak(options: FaultSoakOptions): Promise<FaultSoakResult> {
  const { control, random, tell } = options;
  const marker = randomUUID();
  const around = { control, log: options.log, marker };
  const isFaulty = (i: number): boolean => i % 4 < 2;
  const names = {
    stdio: Array.from({ length: options.stdio }, (_, i) => ({
      name: `p${i}`,
      revision: revisionOf(i),
      faulty: isFaulty(i),
    })),
    http: Array.from({ length: options.http }, (_, i) => ({
      name: `h${i}`,
      revision: revisionOf(i),
      faulty: isFaulty(i),
    })),
  };
  const web = await Promise.all([
    httpServers(
      around,
      names.http.filter(({ faulty }) => faulty),
    ),
    httpServers(
      around,
      names.http.filter(({ faulty }) => !faulty),
    ),
  ]);
  const before = held();
  const servers: Record<string, ServerConfig> = {};
  names.stdio.forEach(({ name, revision, faulty }, i) => {
    servers[name] = stdioServer(around, name, revision, faulty && i % 8 === 0);
  });
  for (const { name, faulty } of names.http) servers[name] = { url: web[faulty ? 0 : 1].url(name) };

  const engine = createEngine({ servers: withDetection(servers), restart: RESTART });
  const watch = watchEngine(engine);
  const bareMs = bareReadMs(BIG_REPLY_BYTES);
  const lag = watchLoopLag();
  const ledger = new Ledger(
    engine,
    (server) => watch.isWell(server),
    (at) => lag.since(at),
  );
  control.onGone = (name) => ledger.gone(name);
  tell(`starting ${Object.keys(servers).length} servers`);
  await engine.start();
  const late = await wellWithin(watch, Object.keys(servers), 30_000);
  if (late.length > 0)
    throw new Error(`${late.join(', ')} did not come up: ${JSON.stringify(engine.inspect())}`);

  const targets: Target[] = [...names.stdio, ...names.http].map(({ name, faulty }) => ({
    name,
    tool: `${name}__echo`,
    healthy: !faulty,
    timeoutMs: faulty ? FAULTY_TIMEOUT_MS : HEALTHY_TIMEOUT_MS,
  }));
  const load = startLoad(targets, options.callsPerSecond, random, ledger);
  // The first second warms up.
  await pause(1_000);
  tell(`${options.quietSeconds} s without faults`);
  load.phase = 'before';
  await pause(options.quietSeconds * 1_000);

  tell(`${options.seconds} s with faults`);
  load.phase = 'faults';
  const heap = watchHeap();
  const began = performance.now();
  const plan = createFaultPlan(random);
  const until = began + options.seconds * 1_000;
  const goesOn = (): boolean => {
    const now = performance.now();
    return now < until || (plan.least < options.leastFaults && now < until + OVERTIME_MS);
  };
  const faulty = [
    ...names.stdio
      .filter((n) => n.faulty)
      .map(({ name }) => ({ name, transport: 'stdio' as FaultTransport })),
    ...names.http.filter((n) => n.faulty).map(({ name }) => ({ name, transport: 'http' as FaultTransport })),
  ];
  const sampling = options.long
    ? setInterval(() => lag.aside(() => heap.sample()), HEAP_EVERY_MS)
    : undefined;
  await Promise.all(
    faulty.map(({ name, transport }) =>
      injectFaults({
        control,
        plan,
        random,
        server: name,
        transport,
        isWell: () => watch.isWell(name),
        goesOn,
        restMs: options.restMs,
      }),
    ),
  );
  const faultsTook = performance.now() - began;
  clearInterval(sampling);
  const last = performance.now();
  const away = await wellWithin(watch, Object.keys(servers), MAX_BACKOFF_MS + 5_000);
  const convergeMs = performance.now() - last;

  tell(`${options.quietSeconds} s without faults`);
  load.phase = 'after';
  await pause(options.quietSeconds * 1_000);
  load.stop();
  const settleBy = performance.now() + HEALTHY_TIMEOUT_MS + 1_000;
  while (ledger.underWay > 0 && performance.now() < settleBy) await pause(10);

  tell('stopping');
  const stopped = performance.now();
  await engine.stop({ graceMs: GRACE_MS });
  const stopByClockMs = performance.now() - stopped;
  const stopMs = stopByClockMs - lag.since(stopped);
  lag.stop();
  control.onGone = () => {};
  await pause(500);
  const processes = processesWith(marker);
  // Control sockets of the servers that have ended and the pipes of the HTTP processes are not the engine's.
  const left = await leftOver(before);
  await Promise.all(web.map((each) => each.end()));

  const { latencies } = ledger;
  const base = Math.max(latencies.before.quantile(0.99), latencies.after.quantile(0.99));
  const p99 = latencies.faults.quantile(0.99);
  const { allowance } = options;
  const inTime = (what: string, ms: number, limitMs: number): Check =>
    atMost(what, ms, allowance * limitMs, ' ms');
  // A large reply is decoded in one turn and parsed in the next. On a machine that needs more than that for one half of it,
  // with nothing around it, the half is the floor.
  const lagLimitMs = Math.max(LAG_MS, 0.75 * bareMs);
  if (lagLimitMs > LAG_MS)
    tell(
      `reading ${BIG_REPLY_BYTES / 1_048_576} MB takes ${bareMs.toFixed(0)} ms here: three quarters may block`,
    );
  const checks: Check[] = [
    atLeast('faults: times of the rarest kind', plan.least, options.leastFaults),
    none('calls that did not settle exactly once', [
      ...(ledger.invoked === ledger.settled ? [] : [`${ledger.invoked} made, ${ledger.settled} settled`]),
      ...(watch.settledEvents === ledger.settled
        ? []
        : [`${watch.settledEvents} settlements told of ${ledger.settled}`]),
      ...(watch.repeated === 0 ? [] : [`${watch.repeated} settlements told twice`]),
      ...(ledger.settledAgain === 0 ? [] : [`${ledger.settledAgain} settled twice`]),
    ]),
    atMost('wrong or doubled replies', ledger.wrongReplies, 0),
    inTime('settled after the deadline by', ledger.overDeadline, 250),
    none('failed calls of healthy servers', ledger.healthyErrors),
    inTime('healthy p99 under faults', p99, Math.max(3 * base, 25)),
    inTime('event loop blocked by own work', lag.longestOwn, lagLimitMs),
    inTime(`failed after the end of the process (${ledger.lossCalls} calls)`, ledger.loss, 100),
    atMost('attempts per call', watch.attempts / ledger.settled, 1.2),
    none('illegal transitions', watch.illegal),
    none('servers not well in time after the last fault', away),
    inTime('stop', stopMs, GRACE_MS + 250),
    none('processes left after stop', processes),
    none('resources left after stop', left),
  ];
  if (options.long) {
    const grown = heap.lastQuarter - heap.firstQuarter;
    checks.push(
      atMost('heap grown', (100 * grown) / heap.firstQuarter, 5, ' %'),
      atMost('heap grown', grown / 1_048_576, 5, ' MB'),
    );
  }
  return {
    checks,
    faults: Object.fromEntries(plan.counts),
    calls: ledger.settled,
    errors: Object.fromEntries(ledger.errors),
    figures: {
      faultSeconds: faultsTook / 1_000,
      healthyP50BeforeMs: latencies.before.quantile(0.5),
      healthyP99BeforeMs: latencies.before.quantile(0.99),
      healthyP50FaultsMs: latencies.faults.quantile(0.5),
      healthyP99FaultsMs: p99,
      healthyP999FaultsMs: latencies.faults.quantile(0.999),
      healthyP99AfterMs: latencies.after.quantile(0.99),
      overDeadlineByClockMs: ledger.overDeadlineByClock,
      lossByClockMs: ledger.lossByClock,
      loopLagMs: lag.longest,
      loopLagOwnMs: lag.longestOwn,
      bareReadMs: bareMs,
      rssMB: process.memoryUsage.rss() / 1_048_576,
      convergeMs,
      stopMs,
      stopByClockMs,
      restarts: watch.restarts,
      succeededFaulty: ledger.succeeded.faulty,
      succeededHealthy: ledger.succeeded.healthy,
    },
  };
}

function withDetection(servers: Readonly<Record<string, ServerConfig>>): Record<string, ServerConfig> {
  return Object.fromEntries(
    Object.entries(servers).map(([name, server]) => [name, { ...server, breaker: BREAKER, probe: PROBE }]),
  );
}

/** Calls each target at its rate, each at times of its own. */
function startLoad(
  targets: readonly Target[],
  perSecond: number,
  random: Random,
  ledger: Ledger,
): { phase: Phase; stop(): void } {
  const every = 1_000 / perSecond;
  const due = targets.map(() => performance.now() + random() * every);
  const timer = setInterval(() => {
    const now = performance.now();
    for (const [i, target] of targets.entries()) {
      const at = due[i] as number;
      if (at > now) continue;
      ledger.call(target, load.phase);
      // What a stalled machine could not send is not sent all at once afterwards.
      due[i] = Math.max(at + every, now - 5 * every);
    }
  }, 5);
  const load = { phase: 'before' as Phase, stop: () => clearInterval(timer) };
  return load;
}

interface EngineWatch {
  isWell(server: string): boolean;
  readonly illegal: readonly string[];
  readonly settledEvents: number;
  readonly repeated: number;
  readonly attempts: number;
  readonly restarts: number;
}

/** How long the host takes to answer a challenge with new credentials, milliseconds. */
const SIGN_IN_MS = 100;

/** What the engine tells, checked against its published tables; answers challenges as a host would. */
function watchEngine(engine: Engine): EngineWatch {
  const states = new Map<string, string>();
  const open = new Set<string>();
  const illegal: string[] = [];
  const seen = new Uint8Array(16_777_216);
  let settledEvents = 0;
  let repeated = 0;
  let attempts = 0;
  let restarts = 0;
  engine.on('connection.changed', ({ connection, server, from, to }) => {
    const known = states.get(connection) ?? 'Disconnected';
    const legal = CONNECTION_TRANSITIONS.some((t) => t.from === from && t.to === to);
    if (!legal || known !== from)
      illegal.push(`${connection}: ${known === from ? '' : `${known} but `}${from} → ${to}`);
    states.set(connection, to);
    if (from === 'Error' && to === 'Connecting') restarts += 1;
    // The breaker belongs to the session and goes with it.
    if (from === 'Connected') open.delete(server);
  });
  engine.on('process.changed', ({ connection, from, to }) => {
    const legal = PROCESS_TRANSITIONS.some((t) => t.from === from && t.to === to);
    if (!legal) illegal.push(`process of ${connection}: ${from} → ${to}`);
  });
  engine.on('breaker.changed', ({ server, to }) => {
    if (to === 'closed') open.delete(server);
    else open.add(server);
  });
  engine.on('request.settled', (event) => {
    settledEvents += 1;
    attempts += event.attempts;
    if (seen[event.seq] === 1) repeated += 1;
    seen[event.seq] = 1;
  });
  engine.on('auth.required', ({ server }) => {
    setTimeout(() => void engine.authorize(server).catch(() => {}), SIGN_IN_MS);
  });
  return {
    isWell: (server) => states.get(server) === 'Connected' && !open.has(server),
    illegal,
    get settledEvents() {
      return settledEvents;
    },
    get repeated() {
      return repeated;
    },
    get attempts() {
      return attempts;
    },
    get restarts() {
      return restarts;
    },
  };
}

/** Those that are not well when the time is over; returns as soon as all are. */
async function wellWithin(watch: EngineWatch, servers: readonly string[], ms: number): Promise<string[]> {
  const until = performance.now() + ms;
  for (;;) {
    const away = servers.filter((name) => !watch.isWell(name));
    if (away.length === 0 || performance.now() > until) return away;
    await pause(10);
  }
}

/** Handles close a turn or two after their owner: looked at for a second. */
async function leftOver(before: ReturnType<typeof held>): Promise<string[]> {
  const until = performance.now() + 1_000;
  for (;;) {
    const left = leftSince(before);
    if (left.length === 0 || performance.now() > until) return left;
    await pause(20);
  }
}
