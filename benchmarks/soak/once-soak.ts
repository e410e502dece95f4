import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createEngine, isTroupeError, type Engine, type Random } from '../../lib/index.ts';
import { atLeast, atMost, none, type Check } from './checks.ts';
import type { Control } from './control.ts';
import { httpServers, revisionOf, stdioServer } from './fleet.ts';
import { pause, signal } from './injector.ts';
import { textOf } from './ledger.ts';
import { processesWith } from './leftovers.ts';

export interface OnceSoakOptions {
  readonly control: Control;
  readonly random: Random;
  readonly log: string;
  /** Calls that must not be repeated are made until so many of them have met a fault, counted where they met it. */
  readonly faultedCalls: number;
  /** So many idempotent ones are made. */
  readonly idempotentCalls: number;
  readonly tell: (text: string) => void;
}

export interface OnceSoakResult {
  readonly checks: readonly Check[];
  readonly figures: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<'unsafe' | 'idempotent', Readonly<Record<string, number>>>>;
}

/** What a call meets by chance: before it runs, while it runs, and after it ran but before it is answered. */
const CHANCES = {
  // The end of a process is the rarest, since it is every call's that the process has.
  stdio: [
    'hang',
    'lost reply',
    'lost reply',
    'lost reply',
    'exit mid-reply',
    'partial line',
    'duplicate',
    'wrong id',
    'garbage',
  ],
  http: ['reset', 'reset', 'SSE cut', '421', '500', '503', '429', 'SSE silence', 'wrong type', 'hang'],
} as const;
const REPLICAS = 3;
/**
 * How many calls are under way. The end of a process takes all its calls with it: with few of them under way, what it
 * costs stays within the retry budget.
 */
const AT_ONCE = { unsafe: 64, idempotent: 12 } as const;
/** Calls that must not be repeated meet a fault this often … */
const UNSAFE_SHARE = 0.4;
/** … idempotent ones as seldom as the retry budget of 10 % is meant for. */
const SAFE_SHARE = 0.04;
const TIMEOUT_MS = 600;
/** Calls in all, at most this many times those that shall meet a fault: a soak that reaches no server ends too. */
const MOST_CALLS = 10;
/** Who finds a breaker open comes again a little later, as a host would. */
const OPEN_PAUSE_MS = 25;
/** How often the faulted calls are counted, milliseconds. */
const COUNT_EVERY_MS = 250;
const SAFE_TIMEOUT_MS = 10_000;
/** A replica that hangs shall not cost the whole time of a call that may be asked of another. */
const ATTEMPT_MS = 1_000;
/** A replica is killed whenever this many calls have been made. */
const KILL_EVERY = 500;
const RESTART = { baseMs: 50, capMs: 500, periodMs: 1_000, intensity: Infinity } as const;
const BREAKER = { openMs: 100, openMaxMs: 400 } as const;

/** Calls on replicas that go wrong, counted where they run. */
export async function onceSoak(options: OnceSoakOptions): Promise<OnceSoakResult> {
  const unsafe = await run('must not run twice', { ...options, idempotent: false, share: UNSAFE_SHARE });
  const safe = await run('idempotent', { ...options, idempotent: true, share: SAFE_SHARE });
  return {
    checks: [
      atLeast(`unsafe calls that met a fault (of ${unsafe.calls})`, unsafe.faulted, options.faultedCalls),
      none('unsafe calls that ran twice', unsafe.twice),
      none('unsafe answers that did not run once', unsafe.unaccounted),
      atLeast(
        `idempotent calls that succeeded (of ${safe.calls}, ${safe.faulted} met a fault)`,
        (100 * safe.succeeded) / safe.calls,
        99,
        ' %',
      ),
      // Three attempts, in each of which up to three replicas may not have taken it at all.
      atMost('hand-overs of an idempotent call', safe.mostAttempts, 9),
      none('wrong replies', [...unsafe.wrong, ...safe.wrong]),
      none('processes left', [...unsafe.left, ...safe.left]),
    ],
    figures: {
      unsafeCalls: unsafe.calls,
      unsafeFaulted: unsafe.faulted,
      unsafeSucceeded: unsafe.succeeded,
      unsafeExecuted: unsafe.executed,
      idempotentCalls: safe.calls,
      idempotentFaulted: safe.faulted,
      idempotentSucceeded: safe.succeeded,
      idempotentExecuted: safe.executed,
      idempotentAttemptsPerCall: safe.attempts / safe.calls,
    },
    errors: { unsafe: unsafe.errors, idempotent: safe.errors },
  };
}

interface Run {
  readonly calls: number;
  readonly faulted: number;
  readonly succeeded: number;
  readonly executed: number;
  readonly attempts: number;
  readonly mostAttempts: number;
  readonly twice: readonly string[];
  readonly unaccounted: readonly string[];
  readonly wrong: readonly string[];
  readonly left: readonly string[];
  readonly errors: Readonly<Record<string, number>>;
}

async function run(
  title: string,
  options: OnceSoakOptions & { readonly idempotent: boolean; readonly share: number },
): Promise<Run> {
  const { control, random, log, faultedCalls, idempotentCalls, idempotent, share, tell } = options;
  const faultLog = `${log}.faults`;
  writeFileSync(log, '');
  writeFileSync(faultLog, '');
  const faulted = (): number => noncesOf(faultLog).size;
  const marker = randomUUID();
  const around = { control, log, marker };
  const stdio = Array.from({ length: REPLICAS }, (_, i) => ({
    name: `${idempotent ? 's' : 'u'}p${i}`,
    revision: revisionOf(0),
  }));
  const http = Array.from({ length: REPLICAS }, (_, i) => ({
    name: `${idempotent ? 's' : 'u'}h${i}`,
    revision: revisionOf(i),
  }));
  const web = await httpServers(around, http);
  const common = { breaker: BREAKER, retry: { attemptMs: ATTEMPT_MS } } as const;
  const engine = createEngine({
    restart: RESTART,
    servers: {
      pipe: {
        replicas: stdio.map(({ name, revision }) => stdioServer(around, name, revision)),
        ...common,
      },
      web: { replicas: http.map(({ name }) => ({ url: web.url(name) })), ...common },
    },
  });
  await engine.start();
  await engine.listTools();
  await control.present(stdio.map(({ name }) => name));
  tell(idempotent ? `${idempotentCalls} calls, ${title}` : `${faultedCalls} calls with a fault, ${title}`);

  const chaos = (name: string, kinds: readonly string[]): void =>
    control.send(name, { share, kinds, seed: Math.floor(random() * 2 ** 32) });
  for (const { name } of stdio) chaos(name, CHANCES.stdio);
  for (const { name } of http) chaos(name, CHANCES.http);
  control.onGone = (name) => {
    // A process that comes back must be told again.
    if (!stdio.some((s) => s.name === name)) return;
    void control.present([name]).then(() => chaos(name, CHANCES.stdio));
  };

  let enough = false;
  const counting = setInterval(() => (enough ||= !idempotent && faulted() >= faultedCalls), COUNT_EVERY_MS);
  const outcome = await callAll(engine, {
    goesOn: (made) => !enough && made < (idempotent ? idempotentCalls : MOST_CALLS * faultedCalls),
    idempotent,
    kill: () => killOne(control, stdio, random),
  });
  clearInterval(counting);
  control.onGone = () => {};
  await engine.stop({ graceMs: 1_000 });
  await web.end();
  await pause(500);

  const ran = noncesOf(log);
  return {
    ...outcome,
    faulted: faulted(),
    executed: [...ran.values()].reduce((sum, n) => sum + n, 0),
    twice: [...ran].filter(([, n]) => n > 1).map(([nonce, n]) => `${nonce} ran ${n} times`),
    unaccounted: idempotent ? [] : outcome.answered.filter((nonce) => ran.get(nonce) !== 1),
    left: processesWith(marker),
  };
}

/** How often each nonce stands in the file. */
function noncesOf(file: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const nonce of readFileSync(file, 'utf8').split('\n'))
    if (nonce !== '') found.set(nonce, (found.get(nonce) ?? 0) + 1);
  return found;
}

function killOne(control: Control, stdio: ReadonlyArray<{ readonly name: string }>, random: Random): void {
  const { name } = stdio[Math.floor(random() * stdio.length)] as { name: string };
  const pid = control.peer(name)?.pid;
  if (pid !== undefined) signal(pid, 'SIGKILL');
}

async function callAll(
  engine: Engine,
  options: {
    readonly goesOn: (made: number) => boolean;
    readonly idempotent: boolean;
    readonly kill: () => void;
  },
): Promise<Omit<Run, 'faulted' | 'executed' | 'twice' | 'unaccounted' | 'left'> & { answered: string[] }> {
  const { goesOn, idempotent, kill } = options;
  const answered: string[] = [];
  const wrong: string[] = [];
  const errors = new Map<string, number>();
  let attempts = 0;
  let mostAttempts = 0;
  const end = engine.on('request.settled', (event) => {
    attempts += event.attempts;
    mostAttempts = Math.max(mostAttempts, event.attempts);
  });
  let next = 0;
  const worker = async (): Promise<void> => {
    while (goesOn(next)) {
      const i = next++;
      if (i % KILL_EVERY === KILL_EVERY - 1) kill();
      const nonce = `${idempotent ? 'safe' : 'unsafe'}/${i}`;
      const tool = i % 2 === 0 ? 'pipe__echo' : 'web__echo';
      const timeoutMs = idempotent ? SAFE_TIMEOUT_MS : TIMEOUT_MS;
      try {
        const result = await engine.callTool(tool, { message: nonce }, { idempotent, timeoutMs });
        if (textOf(result) === nonce) answered.push(nonce);
        else wrong.push(`${nonce}: ${JSON.stringify(result).slice(0, 100)}`);
      } catch (error) {
        const code = isTroupeError(error) ? `${error.code} (${error.delivery})` : String(error);
        errors.set(code, (errors.get(code) ?? 0) + 1);
        if (isTroupeError(error) && error.code === 'circuit_open') await pause(OPEN_PAUSE_MS);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE[idempotent ? 'idempotent' : 'unsafe'] }, worker));
  end();
  return {
    calls: next,
    answered,
    wrong,
    attempts,
    mostAttempts,
    succeeded: answered.length,
    errors: Object.fromEntries(errors),
  };
}
