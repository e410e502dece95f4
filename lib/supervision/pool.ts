import { LRUCache } from 'lru-cache';
import type { Cancellation } from '../core/cancellation.ts';
import type { Clock, Disarm } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';

/** A connection as the pool sees it. */
export interface Pooled {
  readonly id: string;
  readonly server: string;
  /** May be closed now: connected, nothing in flight, not pinned, nothing watched, no state that a caller relies on. */
  readonly evictable: boolean;
  /** Keeps a place although it does not stand, and nobody relies on it: it makes room before those that do. */
  readonly failed?: boolean;
  /** Closes it politely; the place is free when it resolves. */
  evict(): Promise<void>;
}

export interface ConnectionPoolOptions {
  readonly clock: Clock;
  /** Connections at the same time over all servers; `Infinity` for no limit. */
  readonly maxConnections: number;
  /** A connection unused for this long is closed, milliseconds; `Infinity` for never. */
  readonly idleMs: number;
  readonly onEvicted: (pooled: Pooled) => void;
}

interface Waiter {
  readonly pooled: Pooled;
  readonly admit: () => void;
  readonly reject: (error: TroupeError) => void;
}

/**
 * Bounds the connections of all servers together. A place is taken before a connection begins to connect and given
 * back when it is Disconnected. When all are taken, the connection used longest ago that may be closed makes room; while
 * none may, whoever wants in waits in order of arrival.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #places: LRUCache<string, Pooled>;
  readonly #usedAt = new Map<string, number>();
  readonly #evicting = new Set<string>();
  /** By why the wait ended, which goes through all layers as it is, and by server. */
  readonly #refused = new WeakMap<TroupeError, Map<string, TroupeError>>();
  #waiters: Waiter[] = [];
  #sweep: Disarm | undefined;
  #look: Disarm | undefined;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
    // Only the order is the cache's: it must never drop an entry by itself, since an entry is an open connection.
    this.#places = new LRUCache({ maxSize: Number.MAX_SAFE_INTEGER, sizeCalculation: () => 1 });
  }

  /** Whether there is anything to bound; if not, nothing of this costs anything. */
  get bounded(): boolean {
    return this.#options.maxConnections !== Infinity || this.#options.idleMs !== Infinity;
  }

  get size(): number {
    return this.#places.size;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Takes a place if one is free or can be made free at once; never waits. */
  tryEnter(pooled: Pooled): boolean {
    if (this.#places.has(pooled.id)) return true;
    if (this.#places.size >= this.#options.maxConnections || this.#waiters.length > 0) return false;
    this.#enter(pooled);
    return true;
  }

  /** Takes a place, making room or waiting for it. Rejects with `queue_full` when the time is over, else with the reason. */
  async enter(pooled: Pooled, cancellation: Cancellation): Promise<void> {
    if (this.tryEnter(pooled)) return;
    await new Promise<void>((resolve, reject) => {
      const known = this.#waiters.length;
      let slot = -1;
      const waiter: Waiter = {
        pooled,
        admit: () => {
          cancellation.ignore(slot);
          resolve();
        },
        reject: (error) => {
          cancellation.ignore(slot);
          reject(error);
        },
      };
      this.#waiters.push(waiter);
      slot = cancellation.listen((reason) => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(reason.code === 'deadline_exceeded' ? this.#refuse(reason, pooled, known) : reason);
      });
      this.poke();
    });
  }

  /** Why a request whose time ran out for `reason` did not get a connection to the server (to any), if that was it. */
  refusal(reason: TroupeError | undefined, server?: string): TroupeError | undefined {
    const refused = reason === undefined ? undefined : this.#refused.get(reason);
    return server === undefined ? refused?.values().next().value : refused?.get(server);
  }

  /** The connection was used. */
  touch(id: string): void {
    if (this.#places.get(id) !== undefined) this.#usedAt.set(id, this.#options.clock.now());
  }

  /** The connection is Disconnected: its place is free. */
  leave(id: string): void {
    this.#places.delete(id);
    this.#usedAt.delete(id);
    this.#evicting.delete(id);
    this.poke();
  }

  /** These connections go: whoever waits for one of them is rejected. */
  dismiss(ids: ReadonlySet<string>, error: TroupeError): void {
    const dismissed = this.#waiters.filter(({ pooled }) => ids.has(pooled.id));
    this.#waiters = this.#waiters.filter(({ pooled }) => !ids.has(pooled.id));
    for (const { reject } of dismissed) reject(error);
  }

  /** Something may have become free or evictable. */
  poke(): void {
    // Who waits for a connection that has its place by now needs no room.
    this.#admit(({ pooled }) => this.#places.has(pooled.id));
    for (let [first] = this.#waiters; first !== undefined; [first] = this.#waiters) {
      if (this.#places.size >= this.#options.maxConnections) {
        this.#makeRoom();
        this.#lookAgain();
        return;
      }
      const { pooled } = first;
      this.#enter(pooled);
      this.#admit((waiter) => waiter.pooled.id === pooled.id);
    }
    this.#look?.();
    this.#look = undefined;
  }

  dispose(): void {
    this.#sweep?.();
    this.#sweep = undefined;
    this.#look?.();
    this.#look = undefined;
  }

  #enter(pooled: Pooled): void {
    this.#places.set(pooled.id, pooled);
    this.#usedAt.set(pooled.id, this.#options.clock.now());
    this.#armSweep();
  }

  #admit(which: (waiter: Waiter) => boolean): void {
    const admitted = this.#waiters.filter(which);
    if (admitted.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !admitted.includes(waiter));
    for (const { admit } of admitted) admit();
  }

  /** Much can make a connection one that may be closed, and not all of it is told here: while somebody waits, we look. */
  #lookAgain(): void {
    this.#look ??= this.#options.clock.after(
      LOOK_MS,
      () => {
        this.#look = undefined;
        this.poke();
      },
      { unref: true },
    );
  }

  /** Closes as many as are waited for, the one used longest ago first. */
  #makeRoom(): void {
    let wanted = new Set(this.#waiters.map(({ pooled }) => pooled.id)).size - this.#evicting.size;
    const all = this.#longestUnused();
    for (const pooled of [...all.filter(({ failed }) => failed), ...all]) {
      if (wanted <= 0) return;
      if (this.#evicting.has(pooled.id) || !(pooled.failed === true || pooled.evictable)) continue;
      wanted -= 1;
      this.#evict(pooled);
    }
  }

  #longestUnused(): Pooled[] {
    return [...this.#places.rvalues()].filter((pooled) => pooled !== undefined);
  }

  #evict(pooled: Pooled): void {
    this.#evicting.add(pooled.id);
    this.#options.onEvicted(pooled);
    void pooled.evict().catch(() => this.#evicting.delete(pooled.id));
  }

  #armSweep(): void {
    const { idleMs, clock } = this.#options;
    if (idleMs === Infinity || this.#sweep !== undefined) return;
    this.#sweep = clock.after(
      idleMs / 2,
      () => {
        this.#sweep = undefined;
        const now = clock.now();
        for (const pooled of this.#longestUnused()) {
          const idle = now - (this.#usedAt.get(pooled.id) ?? now);
          if (idle >= idleMs && pooled.evictable && !this.#evicting.has(pooled.id)) this.#evict(pooled);
        }
        if (this.#places.size > 0) this.#armSweep();
      },
      { unref: true },
    );
  }

  #refuse(reason: TroupeError, pooled: Pooled, ahead: number): TroupeError {
    const refused = this.#refused.get(reason) ?? new Map<string, TroupeError>();
    const full = refused.get(pooled.server) ?? this.#full(pooled, ahead);
    this.#refused.set(reason, refused.set(pooled.server, full));
    return full;
  }

  #full(pooled: Pooled, ahead: number): TroupeError {
    const { maxConnections } = this.#options;
    return new TroupeError(
      'queue_full',
      `all ${maxConnections} connections of the pool are busy and ${ahead} wait; raise pool.maxConnections or wait longer`,
      { server: pooled.server, retryAfterMs: FULL_RETRY_MS },
    );
  }
}

/** How often a full pool is looked at while somebody waits, milliseconds. */
const LOOK_MS = 25;

/** When it may be worth asking a full pool again, milliseconds. */
const FULL_RETRY_MS = 1_000;
