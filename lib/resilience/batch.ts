import { Observable, Subject, groupBy, merge, mergeMap, skip, toArray } from 'rxjs';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';

export type BatchOutcome =
  | { readonly ok: true; readonly result: Response }
  | { readonly ok: false; readonly error: TroupeError };

/**
 * Sends one group at once and gives one promise per item, in the order of the group. Each settles by itself: a batch
 * is a way of sending, not a unit of success.
 */
export type Transmit<T> = (group: readonly T[], key: string) => readonly Promise<Response>[];

/**
 * Sends items group by group and gives their outcomes in the order of the items. Never rejects; nothing asked is
 * nothing sent. A transmission that fails as a whole is the failure of each of its items.
 */
export async function batch<T>(
  items: readonly T[],
  { groupOf, transmit }: { readonly groupOf: (item: T) => string; readonly transmit: Transmit<T> },
): Promise<BatchOutcome[]> {
  const groups = new Map<string, number[]>();
  const outcomes: Promise<BatchOutcome>[] = Array.from({ length: items.length });
  for (const [index, item] of items.entries()) {
    try {
      const key = groupOf(item);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [index]);
      else group.push(index);
    } catch (error) {
      outcomes[index] = settled(Promise.reject(TroupeError.from(error)));
    }
  }
  for (const [key, indices] of groups) {
    const sent = transmitted(
      indices.map((index) => items[index] as T),
      key,
      transmit,
    );
    for (const [place, index] of indices.entries()) outcomes[index] = settled(sent[place]);
  }
  return Promise.all(outcomes);
}

async function settled(outcome: Promise<Response> | undefined): Promise<BatchOutcome> {
  try {
    if (outcome === undefined)
      throw new TroupeError('internal', 'the transmission of a batch lost this request');
    return { ok: true, result: await outcome };
  } catch (error) {
    return { ok: false, error: TroupeError.from(error) };
  }
}

function transmitted<T>(
  group: readonly T[],
  key: string,
  transmit: Transmit<T>,
): readonly Promise<Response>[] {
  try {
    return transmit(group, key);
  } catch (error) {
    return group.map(() => Promise.reject(TroupeError.from(error)));
  }
}

export interface BatchWindowOptions {
  readonly clock: Clock;
  /** How long a request may wait for company, milliseconds; 0: until the current microtasks are done. */
  readonly windowMs: number;
  /** A group this large is sent at once. */
  readonly maxSize: number;
  /** What may travel together: the connection, in general. */
  readonly groupOf: (request: Request) => string;
  readonly transmit: Transmit<Request>;
}

export interface BatchWindow {
  readonly handler: Handler;
  /** Refuses what still waits, and all that comes. Idempotent. */
  dispose(): void;
}

interface Waiting {
  readonly request: Request;
  readonly key: string;
  readonly resolve: (response: Response | Promise<Response>) => void;
  readonly reject: (error: TroupeError) => void;
}

/**
 * Collects requests that come at nearly the same time and sends them together (DataLoader). Off by default: it buys
 * fewer transmissions with latency, and only pays where a transmission is dear, like a POST each.
 */
export function createBatchWindow(options: BatchWindowOptions): BatchWindow {
  const { clock, windowMs, maxSize, groupOf, transmit } = options;
  const incoming = new Subject<Waiting>();
  const waiting = new Set<Waiting>();
  let disposed = false;

  const windowEnd = new Observable<void>((subscriber) => {
    if (windowMs > 0) return clock.after(windowMs, () => subscriber.next());
    queueMicrotask(() => subscriber.next());
    return undefined;
  });

  const send = (group: readonly Waiting[]): void => {
    for (const entry of group) waiting.delete(entry);
    // Who has left meanwhile is not sent.
    const live = group.filter(({ request, reject }) => {
      if (request.cancellation.reason !== undefined) reject(request.cancellation.reason);
      return !request.cancellation.cancelled;
    });
    const [first] = live;
    if (first === undefined) return;
    const requests = live.map(({ request }) => request);
    const sent = transmitted(requests, first.key, transmit);
    for (const [place, { resolve, reject }] of live.entries()) {
      const outcome = sent[place];
      if (outcome === undefined)
        reject(new TroupeError('internal', 'the transmission of a batch lost this request'));
      else resolve(outcome);
    }
  };

  const subscription = incoming
    .pipe(
      groupBy(({ key }) => key, {
        duration: (group) => merge(windowEnd, group.pipe(skip(maxSize - 1))),
      }),
      mergeMap((group) => group.pipe(toArray())),
    )
    .subscribe(send);

  return {
    handler: (request) =>
      new Promise((resolve, reject) => {
        if (disposed) {
          reject(new TroupeError('stopped', 'the batch window is closed', { server: request.server }));
          return;
        }
        const entry = { request, key: groupOf(request), resolve, reject };
        waiting.add(entry);
        incoming.next(entry);
      }),
    dispose() {
      if (disposed) return;
      disposed = true;
      subscription.unsubscribe();
      for (const { request, reject } of waiting) {
        reject(
          new TroupeError('stopped', `${request.method} was not sent any more`, { server: request.server }),
        );
      }
      waiting.clear();
    },
  };
}
