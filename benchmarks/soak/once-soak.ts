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
  /** Of each kind: not to be repeated, and idempotent. */
  readonly calls: number;
  readonly tell: (text: string) => void;
}

export interface OnceSoakResult {
  readonly checks: readonly Check[];
  readonly figures: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<'unsafe' | 'idempotent', Readonly<Record<string, number>>>>;
}

/** What a call meets by chance: before it runs, while it runs, and after it ran but before it is answered. */
const CHANCES = {
  stdio: ['hang', 'lost reply', 'exit mid-reply', 'partial line', 'duplicate', 'wrong id', 'garbage'],
  http: ['reset', 'reset', 'SSE cut', '421', '500', '503', '429', 'SSE silence', 'wrong type', 'hang'],
} as const;
const REPLICAS = 3;
/**
 * How many calls are under way. The end of a process takes all its calls with it: with few of them under way, what it
 * costs stays within the retry budget.
 */
const AT_ONCE = { unsafe: 48, idempotent: 12 } as const;
/** Calls that must not be repeated meet a fault this often … */
const UNSAFE_SHARE = 0.3;
/** … idempotent ones as seldom as the retry budget of 10 % is meant for. */
const SAFE_SHARE = 0.04;
const TIMEOUT_MS = 1_500;
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
      atLeast(
        'unsafe calls that met a fault',
        unsafe.faulted,
        Math.floor(options.calls * UNSAFE_SHARE * 0.33),
      ),
      none('unsafe calls that ran twice', unsafe.twice),
      none('unsafe answers that did not run once', unsafe.unaccounted),
      atLeast('idempotent calls that succeeded', (100 * safe.succeeded) / options.calls, 99, ' %'),
      atMost('attempts of an idempotent call', safe.mostAttempts, 3),
      none('wrong replies', [...unsafe.wrong, ...safe.wrong]),
      none('processes left', [...unsafe.left, ...safe.left]),
    ],
    figures: {
      unsafeCalls: options.calls,
      unsafeFaulted: unsafe.faulted,
      unsafeSucceeded: unsafe.succeeded,
      unsafeExecuted: unsafe.executed,
      idempotentCalls: options.calls,
      idempotentFaulted: safe.faulted,
      idempotentSucceeded: safe.succeeded,
      idempotentExecuted: safe.executed,
      idempotentAttemptsPerCall: safe.attempts / options.calls,
    },
    errors: { unsafe: unsafe.errors, idempotent: safe.errors },
  };
}

interface Run {
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
  const { control, random, log, calls, idempotent, share, tell } = options;
  writeFileSync(log, '');
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
  tell(`${calls} calls that are ${title}`);

  const chaos = (name: string, kinds: readonly string[]): void =>
    control.send(name, { share, kinds, seed: Math.floor(random() * 2 ** 32) });
  for (const { name } of stdio) chaos(name, CHANCES.stdio);
  for (const { name } of http) chaos(name, CHANCES.http);
  let lostCounts = 0;
  control.onGone = (name) => {
    // A process that comes back must be told again.
    if (!stdio.some((s) => s.name === name)) return;
    lostCounts += 1;
    void control.present([name]).then(() => chaos(name, CHANCES.stdio));
  };

  const outcome = await callAll(engine, {
    calls,
    idempotent,
    random,
    kill: () => killOne(control, stdio, random),
  });
  const faulted = (await control.faulted([...stdio, ...http].map(({ name }) => name))) + lostCounts;
  control.onGone = () => {};
  await engine.stop({ graceMs: 1_000 });
  await web.end();
  await pause(500);

  const ran = new Map<string, number>();
  for (const nonce of readFileSync(log, 'utf8').split('\n'))
    if (nonce !== '') ran.set(nonce, (ran.get(nonce) ?? 0) + 1);
  return {
    ...outcome,
    faulted,
    executed: [...ran.values()].reduce((sum, n) => sum + n, 0),
    twice: [...ran].filter(([, n]) => n > 1).map(([nonce, n]) => `${nonce} ran ${n} times`),
    unaccounted: idempotent ? [] : outcome.answered.filter((nonce) => ran.get(nonce) !== 1),
    left: processesWith(marker),
  };
}

function killOne(control: Control, stdio: ReadonlyArray<{ readonly name: string }>, random: Random): void {
  const { name } = stdio[Math.floor(random() * stdio.length)] as { name: string };
  const pid = control.peer(name)?.pid;
  if (pid !== undefined) signal(pid, 'SIGKILL');
}

async function callAll(
  engine: Engine,
  options: {
    readonly calls: number;
    readonly idempotent: boolean;
    readonly random: Random;
    readonly kill: () => void;
  },
): Promise<Omit<Run, 'faulted' | 'executed' | 'twice' | 'unaccounted' | 'left'> & { answered: string[] }> {
  const { calls, idempotent, kill } = options;
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
    while (next < calls) {
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
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE[idempotent ? 'idempotent' : 'unsafe'] }, worker));
  end();
  return {
    answered,
    wrong,
    attempts,
    mostAttempts,
    succeeded: answered.length,
    errors: Object.fromEntries(errors),
  };
}
