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
  readonly #refused = new WeakMap<Cancellation, TroupeError>();
  #waiters: Waiter[] = [];
  #sweep: Disarm | undefined;

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
      };
      this.#waiters.push(waiter);
      slot = cancellation.listen((reason) => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        if (reason.code === 'deadline_exceeded') this.#refused.set(cancellation, this.#full(pooled, known));
        reject(this.#refused.get(cancellation) ?? reason);
      });
      this.poke();
    });
  }

  /** Why a request whose time ran out here did not get a connection. */
  refusal(cancellation: Cancellation): TroupeError | undefined {
    return this.#refused.get(cancellation);
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

  /** Something may have become free or evictable. */
  poke(): void {
    while (this.#waiters.length > 0) {
      const [first] = this.#waiters;
      if (first === undefined) return;
      const known = this.#places.has(first.pooled.id);
      if (!known && this.#places.size >= this.#options.maxConnections) {
        this.#makeRoom();
        return;
      }
      this.#waiters.shift();
      if (!known) this.#enter(first.pooled);
      first.admit();
    }
  }

  dispose(): void {
    this.#sweep?.();
    this.#sweep = undefined;
  }

  #enter(pooled: Pooled): void {
    this.#places.set(pooled.id, pooled);
    this.#usedAt.set(pooled.id, this.#options.clock.now());
    this.#armSweep();
  }

  /** Closes as many as are waited for, the one used longest ago first. */
  #makeRoom(): void {
    let wanted = this.#waiters.length - this.#evicting.size;
    for (const pooled of this.#longestUnused()) {
      if (wanted <= 0) return;
      if (this.#evicting.has(pooled.id) || !pooled.evictable) continue;
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

  #full(pooled: Pooled, ahead: number): TroupeError {
    const { maxConnections } = this.#options;
    return new TroupeError(
      'queue_full',
      `all ${maxConnections} connections of the pool are busy and ${ahead} wait; raise pool.maxConnections or wait longer`,
      { server: pooled.server, retryAfterMs: FULL_RETRY_MS },
    );
  }
}

/** When it may be worth asking a full pool again, milliseconds. */
const FULL_RETRY_MS = 1_000;
