import { Observable } from 'rxjs';
import { reduceAnswers, type Reducer, type ReducerName } from '../catalog/reducers.ts';
import { TroupeError, isTroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import { LIST_METHODS } from '../mcp/session/list.ts';

/** One server's answer, or why there is none. */
export type FanOutResult =
  | { readonly server: string; readonly ok: true; readonly result: Json; readonly elapsedMs: number }
  | { readonly server: string; readonly ok: false; readonly error: TroupeError; readonly elapsedMs: number };

export interface FanOutRequest {
  readonly method: string;
  readonly params?: Json | undefined;
  /** Who is asked. Default: every server. */
  readonly servers?: readonly string[] | undefined;
}

export interface AggregateRequest extends FanOutRequest {
  /** `parallel` (default): all at once. `sequential`: one after the other. `first`: the first success, the rest is cancelled. */
  readonly mode?: 'parallel' | 'sequential' | 'first' | undefined;
  /** A reducer of your own, or `lists`, `contents`, `texts`, `first`. Default: what suits the method. */
  readonly reduce?: Reducer | ReducerName | undefined;
}

export interface AggregateResult {
  readonly result: unknown;
  readonly failures: ReadonlyArray<{ readonly server: string; readonly error: TroupeError }>;
}

/** One leg on its way: through the whole pipeline, as a call of its own. */
export interface Leg {
  readonly answer: Promise<Json>;
  cancel(): void;
}

export interface FanOutDeps {
  /** Checks the servers; throws `not_found`. A promise where a policy has to say first whom the caller may know. */
  readonly members: (wanted: readonly string[] | undefined) => readonly string[] | Promise<readonly string[]>;
  readonly leg: (server: string) => Leg;
  readonly now: () => number;
}

/**
 * Asks many servers and gives a row as each answers. Cold: nothing is asked before somebody subscribes; single-use: a
 * second subscriber is refused. A late server is a row at the deadline, never an error of the stream. Unsubscribing
 * cancels at every server.
 */
export function fanOut(wanted: readonly string[] | undefined, deps: FanOutDeps): Observable<FanOutResult> {
  let used = false;
  return new Observable((subscriber) => {
    if (used) {
      subscriber.error(
        new TroupeError('invalid_request', 'a fan-out can be subscribed to once; ask again for another one'),
      );
      return undefined;
    }
    used = true;
    let legs: readonly Leg[] = [];
    const ask = (members: readonly string[]): void => {
      if (subscriber.closed) return;
      let open = members.length;
      if (open === 0) subscriber.complete();
      legs = members.map((server) => {
        const started = deps.now();
        const leg = deps.leg(server);
        void row(leg, server, started, deps.now).then((result) => {
          subscriber.next(result);
          open -= 1;
          if (open === 0) subscriber.complete();
        });
        return leg;
      });
    };
    try {
      const members = deps.members(wanted);
      if (members instanceof Promise) members.then(ask).catch((error: unknown) => subscriber.error(error));
      else ask(members);
    } catch (error) {
      subscriber.error(error);
    }
    return () => {
      for (const leg of legs) leg.cancel();
    };
  });
}

/** Asks many servers and makes one answer of what they say; the failures stand beside it. */
export async function aggregate(request: AggregateRequest, deps: FanOutDeps): Promise<AggregateResult> {
  const mode = MODES[request.mode ?? 'parallel'];
  if (mode === undefined)
    throw new TroupeError(
      'invalid_request',
      `mode is "${String(request.mode)}"; choose one of ${Object.keys(MODES).join(', ')}`,
    );
  const found = deps.members(request.servers);
  const members = found instanceof Promise ? await found : found;
  const rows = await mode(members, deps);
  const failures = rows.flatMap((r) => (r.ok ? [] : [{ server: r.server, error: r.error }]));
  const reduce = request.reduce ?? (request.mode === 'first' ? 'first' : suited(request.method));
  return { result: await reduceAnswers(reduce, rows), failures };
}

const MODES = {
  parallel: (members: readonly string[], deps: FanOutDeps): Promise<FanOutResult[]> =>
    Promise.all(members.map((server) => row(deps.leg(server), server, deps.now(), deps.now))),

  async sequential(members: readonly string[], deps: FanOutDeps): Promise<FanOutResult[]> {
    const rows: FanOutResult[] = [];
    for (const server of members) rows.push(await row(deps.leg(server), server, deps.now(), deps.now));
    return rows;
  },

  /**
   * In the order in which they answer; what comes after the first success is cancelled and no row. A tool that says that it
   * failed is none: it counts where nobody does better.
   */
  first(members: readonly string[], deps: FanOutDeps): Promise<FanOutResult[]> {
    return new Promise((resolve) => {
      const rows: FanOutResult[] = [];
      if (members.length === 0) resolve(rows);
      const legs = members.map((server) => {
        const leg = deps.leg(server);
        void row(leg, server, deps.now(), deps.now).then((result) => {
          rows.push(result);
          const isSuccess = result.ok && result.result['isError'] !== true;
          if (!isSuccess && rows.length < members.length) return;
          resolve(isSuccess ? [...rows.filter(({ ok }) => !ok), result] : [...rows]);
          for (const other of legs) other.cancel();
        });
        return leg;
      });
    });
  },
} as const;

function suited(method: string): ReducerName {
  return Object.values(LIST_METHODS).includes(method) ? 'lists' : 'contents';
}

async function row(leg: Leg, server: string, started: number, now: () => number): Promise<FanOutResult> {
  try {
    const result = await leg.answer;
    return { server, ok: true, result, elapsedMs: now() - started };
  } catch (cause) {
    const error = isTroupeError(cause) ? cause : TroupeError.from(cause, { server });
    return { server, ok: false, error, elapsedMs: now() - started };
  }
}
