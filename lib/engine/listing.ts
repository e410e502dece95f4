import type { Catalog } from '../catalog/catalog.ts';
import type { Cancellation } from '../core/cancellation.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError, isTroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { View } from './scopes.ts';
import type { Server } from './server.ts';

/** Whether the lists of one server could be had, and why not. The items themselves are in the catalog. */
interface ListOutcome {
  readonly server: string;
  readonly error: TroupeError | undefined;
}

interface ListingOptions {
  readonly cancellation: Cancellation;
  readonly again: boolean;
  readonly knows: (server: string) => boolean;
}

/** Whether the catalog knows what the server lists now. Of a thousand servers most have nothing new: they cost no waiting. */
export function isListed(server: Server, kind: ListKind): boolean {
  // What has lists has a session: of a thousand servers, each object on the way there is a miss of the processor's cache.
  for (const { odd, lists } of server.replicas) if (!odd && lists !== undefined) return lists.isFresh(kind);
  return server.speaker?.lists?.isFresh(kind) === true;
}

/**
 * Servers that have only just connected and are about to say what they have: that may be what is asked for, or make a name
 * ambiguous. One that is down, rests, or takes its time over a list is not waited for.
 */
export function stillListing(view: View, kind: ListKind, among?: readonly string[]): readonly Server[] {
  const found: Server[] = [];
  for (const server of unknownOf(view, kind))
    if (among?.includes(server.name) !== false && earlyList(server, kind) !== undefined) found.push(server);
  return found;
}

/** Until they have said so, or it has become too late for that. */
export async function earlyLists(
  servers: readonly Server[],
  kind: ListKind,
  cancellation: Cancellation,
): Promise<void> {
  await unless(
    cancellation,
    Promise.all(servers.map((server) => earlyList(server, kind) ?? Promise.resolve())),
  );
}

function earlyList(server: Server, kind: ListKind): Promise<void> | undefined {
  return server.speaker?.lists?.early(kind);
}

/** Remembered by catalog: with a list that arrives for the first time there is another one. */
const unknown = new WeakMap<Catalog, Map<ListKind, readonly Server[]>>();

function unknownOf({ servers, knows, catalog }: View, kind: ListKind): readonly Server[] {
  const now = catalog();
  let known = unknown.get(now);
  if (known === undefined) {
    known = new Map();
    unknown.set(now, known);
  }
  let left = known.get(kind);
  if (left === undefined) {
    left = [...servers.values()].filter(({ name }) => !knows(name, kind));
    known.set(kind, left);
  }
  return left;
}

/**
 * Makes sure that the catalog knows the `kind` lists of a server, fetching or waking as needed, inside the request's
 * time. A server that is down is not waited for: its last known items stay, its error is the answer.
 */
export function ensureListed(server: Server, kind: ListKind, options: ListingOptions): Promise<ListOutcome> {
  if (!options.again && isListed(server, kind))
    return Promise.resolve({ server: server.name, error: undefined });
  return listedAnew(server, kind, options);
}

async function listedAnew(server: Server, kind: ListKind, options: ListingOptions): Promise<ListOutcome> {
  const { cancellation, again } = options;
  try {
    await standing(server, cancellation, options.knows(server.name));
    const lists = server.speaker?.lists;
    if (lists !== undefined) await unless(cancellation, lists.fresh(kind, again));
    else if (server.error !== undefined) throw server.error;
    return { server: server.name, error: undefined };
  } catch (error) {
    const full = server.refusal(cancellation.reason);
    return { server: server.name, error: full ?? located(error, server.name) };
  }
}

/**
 * Resolves when a connection stands or there is no point in waiting: none will by itself, or the server rests
 * (evicted, lazy) and what it lists is known already, or it has just failed.
 */
async function standing(server: Server, cancellation: Cancellation, known: boolean): Promise<void> {
  if (server.connected !== undefined) return;
  const resting = server.replicas.every(({ connection }) => connection.state === 'Disconnected');
  if (resting && (known || server.rests)) return;
  if (resting) {
    const ready = server.ready(cancellation);
    if (ready !== undefined) await unless(cancellation, ready);
    return;
  }
  const settled = Promise.race(
    server.replicas.map(({ connection }) =>
      connection.settled(
        (state) =>
          state === 'Connected' || state === 'Error' || state === 'AuthRequired' || state === 'Disconnected',
      ),
    ),
  );
  if (
    server.replicas.some(
      ({ connection }) => connection.state === 'Connecting' || connection.state === 'Initializing',
    )
  ) {
    await unless(cancellation, settled);
  }
}

/** The promise, or the cancellation's reason if that comes first. */
export async function unless<T>(cancellation: Cancellation, promise: Promise<T>): Promise<T> {
  const wait = cancellation.waiting();
  try {
    return await Promise.race([promise, wait.promise]);
  } finally {
    wait.done();
  }
}

/** Ends `cancellation` after `timeoutMs` with a `deadline_exceeded` that says what took so long. */
export function expire(
  clock: Clock,
  cancellation: Cancellation,
  timeoutMs: number,
  what: string,
): () => void {
  const entry = {
    onDeadline: () =>
      cancellation.cancel(new TroupeError('deadline_exceeded', `${what} took longer than ${timeoutMs} ms`)),
  };
  clock.deadline(clock.now() + timeoutMs, entry);
  return () => clock.cancelDeadline(entry);
}

function located(error: unknown, server: string): TroupeError {
  return isTroupeError(error) ? error.with({ server }) : TroupeError.from(error, { server });
}
