import type { ErrorCode, TroupeError } from '../core/errors.ts';
import type { CacheScope } from './inventory.ts';

import { joined } from './joined.ts';

/** A server whose list is missing, old or incomplete, and why. */
export interface ServerFailure {
  readonly server: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly error: TroupeError;
}

/** What one server contributes to a list. */
export interface ListPart<T> {
  readonly server: string;
  readonly items: readonly T[];
  /** Milliseconds from `listedAt`. */
  readonly ttlMs?: number | undefined;
  readonly cacheScope?: CacheScope | undefined;
  /** Monotonic milliseconds. */
  readonly listedAt?: number | undefined;
  /** The items are the last known ones; those not marked as stale are marked here. */
  readonly stale?: boolean | undefined;
  readonly failure?: TroupeError | undefined;
}

export interface MergedList<T> {
  /** Frozen: it may be handed out more than once. */
  readonly items: readonly T[];
  readonly failures: readonly ServerFailure[];
  /** How long the whole holds: the shortest of all, less the age of each. 0 where one failed or gave no time. */
  readonly ttlMs: number;
  /** `public` only where every server said so. */
  readonly cacheScope: CacheScope;
}

/**
 * One list of many, in the order given. A failed server is a row in `failures` and takes nothing from the others.
 * `now` (monotonic milliseconds) takes the age of each part off its time; without it the parts count as fresh.
 * `whole`: the items of all parts one behind the other, where somebody has them already.
 */
export function mergeLists<T extends object>(
  parts: readonly ListPart<T>[],
  now?: number,
  whole?: readonly T[],
): MergedList<T> {
  let anyStale = false;
  const failures: ServerFailure[] = [];
  let ttlMs = parts.length === 0 ? 0 : Infinity;
  let cacheScope: CacheScope = parts.length === 0 ? 'private' : 'public';
  for (const part of parts) {
    const stale = part.stale === true;
    anyStale ||= stale;
    if (part.failure !== undefined) {
      const error = part.failure;
      failures.push({ server: part.server, code: error.code, message: error.message, error });
    }
    ttlMs = Math.min(ttlMs, stale || part.failure !== undefined ? 0 : remaining(part, now));
    if (part.cacheScope !== 'public') cacheScope = 'private';
  }
  const items = whole === undefined || anyStale ? Object.freeze(joined(parts.map(itemsOf))) : whole;
  return { items, failures, ttlMs, cacheScope };
}

function itemsOf<T extends object>({ items, stale }: ListPart<T>): readonly T[] {
  return stale === true ? items.map(markStale) : items;
}

function remaining(part: ListPart<unknown>, now: number | undefined): number {
  const { ttlMs, listedAt } = part;
  // The protocol's default where a server gives none, and what a nonsensical one deserves.
  if (ttlMs === undefined || !(ttlMs > 0)) return 0;
  const age = now === undefined || listedAt === undefined ? 0 : Math.max(0, now - listedAt);
  return Math.max(0, Math.min(ttlMs, Number.MAX_SAFE_INTEGER) - age);
}

function markStale<T extends object>(item: T): T {
  return (item as { stale?: unknown }).stale === true ? item : Object.freeze({ ...item, stale: true });
}
