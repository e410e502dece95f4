import { Cancellation } from '../core/cancellation.ts';
import type { Clock, Disarm } from '../core/clock.ts';
import { TroupeError, freeFrames } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { Limits } from '../core/limits.ts';
import { announcesListChanges } from '../mcp/session/capabilities.ts';
import { LIST_METHODS, listAll, type RawList } from '../mcp/session/list.ts';
import type { Session } from '../mcp/session/session.ts';
import type { Slices } from './slices.ts';

export const LIST_KINDS: readonly ListKind[] = ['tools', 'resources', 'resourceTemplates', 'prompts'];

/** Which lists a change notification is about. */
export const CHANGED_LISTS: Readonly<Record<string, readonly ListKind[]>> = {
  'notifications/tools/list_changed': ['tools'],
  'notifications/resources/list_changed': ['resources', 'resourceTemplates'],
  'notifications/prompts/list_changed': ['prompts'],
};

/** Changes come in bursts: waiting this long, milliseconds, makes one list of many notifications. */
const SETTLE_MS = 25;

/** A list that has failed after a change is asked for again after this, doubling; until then there is what was known before. */
const AGAIN_MS = { first: 1_000, most: 30_000 } as const;

/**
 * How long after a session began its first lists are waited for by who has found what it looks for elsewhere, milliseconds:
 * some ten times what a server takes that has only to answer.
 */
const EARLY_MS = 1_000;

export interface SessionListsOptions {
  readonly session: Session;
  readonly server: string;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** How long a list counts as fresh where neither hint nor notification says so, milliseconds. */
  readonly ttlMs: number;
  /** What is done with a list takes its time: many lists at once share it with the rest of the process. */
  readonly slices: Slices;
  /** Gives back what of the list is kept. */
  readonly onListed: (kind: ListKind, list: RawList) => RawList;
  readonly onFailed: (kind: ListKind, error: TroupeError) => void;
}

interface Entry {
  list: RawList | undefined;
  /** Monotonic milliseconds; Infinity where the server says when something changes. */
  freshUntil: number;
  error: TroupeError | undefined;
  /** Failures in a row, and when the next attempt is worth its time; monotonic milliseconds. */
  failures: number;
  againAt: number;
  running: Promise<void> | undefined;
  /** A change came while the list was being made. */
  again: boolean;
  stale: boolean;
  settle: Disarm | undefined;
  retry: Disarm | undefined;
}

/** The lists of one session: fetched once it stands, kept fresh by notifications and hints, each at most once at a time. */
export class SessionLists {
  readonly #options: SessionListsOptions;
  readonly #entries: Readonly<Record<ListKind, Entry>>;
  readonly #cancellation = new Cancellation();
  readonly #earlyUntil: number;
  /** Over once the first lists are not waited for any more. */
  #early: Promise<void> | undefined;
  #endEarly: Disarm | undefined;

  constructor(options: SessionListsOptions) {
    this.#options = options;
    this.#earlyUntil = options.clock.now() + EARLY_MS;
    this.#entries = { tools: entry(), resources: entry(), resourceTemplates: entry(), prompts: entry() };
  }

  /** Fetches everything the server has. */
  start(): void {
    for (const kind of LIST_KINDS) void this.refresh(kind);
  }

  /** What was fetched, old or new. */
  get known(): Array<readonly [ListKind, RawList]> {
    return LIST_KINDS.flatMap((kind) => {
      const { list } = this.#entries[kind];
      return list === undefined ? [] : [[kind, list] as const];
    });
  }

  /** Whether this session has listed it, old or new. */
  has(kind: ListKind): boolean {
    return this.#entries[kind].list !== undefined;
  }

  /** Whether it is about to be known for the first time. */
  pending(kind: ListKind): boolean {
    const { list, error } = this.#entries[kind];
    return list === undefined && error === undefined;
  }

  /** Resolves with the first list of a session that has only just begun, or soon without it; undefined where neither is to be waited for. */
  early(kind: ListKind): Promise<void> | undefined {
    const { clock } = this.#options;
    const { running } = this.#entries[kind];
    const leftMs = this.#earlyUntil - clock.now();
    if (running === undefined || leftMs <= 0 || !this.pending(kind)) return undefined;
    this.#early ??= new Promise((resolve) => {
      this.#endEarly = clock.after(leftMs, resolve, { unref: true });
    });
    return Promise.race([running, this.#early]);
  }

  error(kind: ListKind): TroupeError | undefined {
    return this.#entries[kind].error;
  }

  /** Resolves once the list is known and fresh; fetches it when it is neither, or when `again` asks for it. */
  async fresh(kind: ListKind, again = false): Promise<void> {
    const e = this.#entries[kind];
    if (e.running !== undefined) {
      // An attempt after a failure is made for those to come: who has something to show is not kept waiting by it.
      if (again || e.error === undefined || e.list === undefined) await e.running;
    } else if (again || this.#isWorthAsking(e)) await this.refresh(kind);
    if (e.error !== undefined) throw e.error;
  }

  /** Whether `fresh` would have nothing to wait for, and no error to tell. */
  isFresh(kind: ListKind): boolean {
    const e = this.#entries[kind];
    return e.running === undefined && e.error === undefined && this.#isFresh(e);
  }

  /** The server says that something changed. */
  changed(kind: ListKind): void {
    const e = this.#entries[kind];
    e.stale = true;
    if (e.running !== undefined) e.again = true;
    else {
      e.settle ??= this.#options.clock.after(
        SETTLE_MS,
        () => {
          e.settle = undefined;
          void this.refresh(kind);
        },
        { unref: true },
      );
    }
  }

  refresh(kind: ListKind): Promise<void> {
    const e = this.#entries[kind];
    e.settle?.();
    e.settle = undefined;
    e.retry?.();
    e.retry = undefined;
    e.running ??= this.#fetch(kind, e).finally(() => {
      e.running = undefined;
      if (e.again && !this.#cancellation.cancelled) {
        e.again = false;
        void this.refresh(kind);
      }
    });
    return e.running;
  }

  /** Ends what is under way; the lists stay readable. */
  dispose(): void {
    this.#cancellation.cancel(
      new TroupeError('connection_lost', 'the session ended', { server: this.#options.server }),
    );
    for (const kind of LIST_KINDS) {
      this.#entries[kind].settle?.();
      this.#entries[kind].retry?.();
    }
    this.#endEarly?.();
  }

  async #fetch(kind: ListKind, e: Entry): Promise<void> {
    const { session, limits, clock, timeoutMs, server, slices } = this.#options;
    const cancellation = this.#cancellation.child();
    const disarm = clock.after(timeoutMs, () =>
      cancellation.cancel(
        new TroupeError('deadline_exceeded', `${LIST_METHODS[kind]} took longer than ${timeoutMs} ms`, {
          server,
        }),
      ),
    );
    e.stale = false;
    try {
      const list = await listAll(session, kind, { limits, cancellation, server });
      await slices.run(() => {
        // The session may have ended while others had their turn.
        cancellation.throwIfCancelled();
        // Whoever hears of it may ask for it.
        e.list = list;
        e.freshUntil = this.#holdsUntil(kind, list);
        e.error = undefined;
        e.failures = 0;
        e.list = this.#options.onListed(kind, list);
      });
    } catch (error) {
      e.error = TroupeError.from(error, { server });
      // Whoever asks next has it tried again: what the server has announced is still not known.
      e.stale = true;
      const delay = Math.min(AGAIN_MS.most, AGAIN_MS.first * 2 ** e.failures);
      e.againAt = clock.now() + delay;
      e.failures += 1;
      if (e.list !== undefined && !this.#cancellation.cancelled)
        e.retry = clock.after(delay, () => void this.refresh(kind), { unref: true });
      freeFrames(e.error);
      this.#options.onFailed(kind, e.error);
    } finally {
      disarm();
      cancellation.release();
    }
  }

  /** A server that cannot list now takes its time, for as long as there is something to show, from nobody. */
  #isWorthAsking(e: Entry): boolean {
    if (this.#isFresh(e)) return false;
    return e.list === undefined || e.error === undefined || this.#options.clock.now() >= e.againAt;
  }

  #isFresh(e: Entry): boolean {
    if (e.list === undefined || e.stale) return false;
    return e.freshUntil === Infinity || this.#options.clock.now() < e.freshUntil;
  }

  #holdsUntil(kind: ListKind, list: RawList): number {
    const { session, clock, ttlMs } = this.#options;
    if (!session.supports(LIST_METHODS[kind])) return Infinity;
    const feature = kind === 'resourceTemplates' ? 'resources' : kind;
    if (announcesListChanges(session.capabilities, feature)) return Infinity;
    return clock.now() + (list.ttlMs ?? ttlMs);
  }
}

function entry(): Entry {
  return {
    list: undefined,
    freshUntil: 0,
    error: undefined,
    failures: 0,
    againAt: 0,
    running: undefined,
    again: false,
    stale: false,
    settle: undefined,
    retry: undefined,
  };
}
