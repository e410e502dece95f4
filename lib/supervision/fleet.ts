import { Observable, Subject } from 'rxjs';
import type { Availability } from '../core/availability.ts';
import { bestOf } from '../core/availability.ts';
import type { TroupeError } from '../core/errors.ts';
import type { BreakerState, ConnectionState, Era } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';

/** One connection, as it was when the snapshot was taken. */
export interface ConnectionSnapshot {
  readonly id: string;
  readonly server: string;
  readonly state: ConnectionState;
  /** Wall time of the last transition, milliseconds since the epoch. */
  readonly since: number;
  /** Attempts since a session last stood. */
  readonly attempt: number;
  readonly availability: Availability;
  readonly error?: TroupeError | undefined;
  /** Failing too often: tried at the slowest pace only. */
  readonly parked?: boolean | undefined;
  readonly transport?: string | undefined;
  readonly era?: Era | undefined;
  readonly protocolVersion?: string | undefined;
  readonly serverInfo?: Json | undefined;
  readonly pid?: number | undefined;
  readonly inFlight: number;
  readonly queued: number;
  readonly breaker: BreakerState;
  /** Moving average of answered requests; undefined before the first. */
  readonly latencyMs: number | undefined;
  readonly calls: number;
  readonly restarts: number;
  readonly lastProbe?: { readonly at: number; readonly ok: boolean; readonly elapsedMs: number } | undefined;
}

export interface ServerSnapshot {
  readonly name: string;
  /** As good as its best connection. */
  readonly availability: Availability;
  readonly connections: readonly ConnectionSnapshot[];
}

/** The fleet at one moment; frozen. */
export interface FleetSnapshot {
  /** Wall time, milliseconds since the epoch. */
  readonly at: number;
  readonly servers: readonly ServerSnapshot[];
  readonly connections: readonly ConnectionSnapshot[];
}

export function fleetSnapshot(at: number, rows: readonly ConnectionSnapshot[]): FleetSnapshot {
  const byServer = new Map<string, ConnectionSnapshot[]>();
  for (const row of rows) {
    const group = byServer.get(row.server);
    if (group === undefined) byServer.set(row.server, [row]);
    else group.push(row);
  }
  const servers = [...byServer].map(([name, connections]) => ({
    name,
    connections,
    availability: bestOf(connections.map((c) => c.availability)),
  }));
  return Object.freeze({ at, servers, connections: rows });
}

/** The fleet as a stream: as it is now for whoever comes, then as it is after each change. */
export interface FleetStream {
  readonly changes: Observable<FleetSnapshot>;
  /** Something has changed. */
  changed(): void;
  complete(): void;
}

/**
 * `take` is only called while somebody listens: a thousand servers change some thousand times while they start, and a
 * snapshot of all for each of them would cost more than their start.
 */
export function createFleetStream(take: () => FleetSnapshot): FleetStream {
  const changes = new Subject<FleetSnapshot>();
  let over = false;
  return {
    changes: new Observable((subscriber) => {
      if (!over) subscriber.next(take());
      return changes.subscribe(subscriber);
    }),
    changed: () => {
      if (changes.observed) changes.next(take());
    },
    complete: () => {
      over = true;
      changes.complete();
    },
  };
}
