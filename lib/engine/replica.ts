import type { ResolvedReplica, ResolvedServer } from '../config/config.ts';
import type { Connection } from '../connection/connection.ts';
import type { ServerProcess } from '../connection/server-process.ts';
import type { Availability } from '../core/availability.ts';
import { TroupeError } from '../core/errors.ts';
import type { ConnectionState } from '../core/events.ts';
import type { Handler, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import type { Session } from '../mcp/session/session.ts';
import type { CircuitBreaker, HeldBreaker } from '../resilience/circuit-breaker.ts';
import type { Candidate } from '../routing/pool.ts';
import type { Fingerprints } from './pinned-tools.ts';
import type { ProbeResult } from './probe.ts';
import type { SessionLists } from './session-lists.ts';

/** One replica at run time: its durable connection and what its present session lists. */
export interface Replica {
  readonly config: ResolvedReplica;
  readonly connection: Connection;
  /** Of the present session. */
  lists: SessionLists | undefined;
  process: ServerProcess | undefined;
  /** Session facts that outlive the session, for the snapshot of a connection that is down. */
  lastSession: Session | undefined;
  /** Of the present session: its breaker, and what a request goes through on its way to it. */
  breaker: CircuitBreaker | undefined;
  /** Of a session that was evicted while its breaker was not closed. */
  held: HeldBreaker | undefined;
  path: Handler | undefined;
  lastProbe: ProbeResult | undefined;
  endWatch: (() => void) | undefined;
  /** Of the tools it lists; replicas form one pool only while theirs agree. */
  fingerprint: string | undefined;
  odd: boolean;
  /** What its session offers, where tools are pinned. */
  offered: Fingerprints | undefined;
  /** Sessions so far. */
  sessions: number;
  /** Somebody has asked for it since it last failed. */
  wanted: boolean;
  /** It had failed when it made room for others: until when it is not connected again, monotonic milliseconds, and why. */
  resting: { readonly until: number; readonly error: TroupeError | undefined } | undefined;
}

/** A replica as the pool sees it; what may change is read when it is needed. */
export function candidate(replica: Replica, server: ResolvedServer): Candidate {
  return new ReplicaCandidate(replica, server);
}

/** A class, so that all replicas of all servers share one set of getters; they are read at every pick. */
class ReplicaCandidate implements Candidate {
  readonly id: string;
  readonly weight: number;
  readonly tier: number;
  readonly slots: number;
  readonly #replica: Replica;
  readonly #server: string;

  constructor(replica: Replica, server: ResolvedServer) {
    const { id, weight, tier } = replica.config;
    this.id = id;
    this.weight = weight;
    this.tier = tier;
    this.slots = server.maxInFlight;
    this.#replica = replica;
    this.#server = server.name;
  }

  get availability(): Availability {
    const { connection, breaker, odd } = this.#replica;
    if (connection.session === undefined || breaker?.admits === false) return 'impossible';
    return odd ? 'suspect' : 'usable';
  }

  /** A legacy session is the server's memory of us; a modern server has none. */
  get epoch(): number | undefined {
    const { lastSession, sessions } = this.#replica;
    return lastSession?.era === 'legacy' ? sessions : undefined;
  }

  get error(): TroupeError | undefined {
    const { connection, resting } = this.#replica;
    return connection.error ?? resting?.error;
  }

  get blocked(): TroupeError | undefined {
    const { breaker, connection } = this.#replica;
    if (breaker === undefined || breaker.admits || connection.session === undefined) return undefined;
    return new TroupeError('circuit_open', `the circuit breaker is ${breaker.state}`, {
      server: this.#server,
      connection: this.id,
      retryAfterMs: breaker.retryAfterMs,
    });
  }

  get state(): ConnectionState {
    return this.#replica.connection.state;
  }

  get health(): CircuitBreaker | undefined {
    return this.#replica.breaker;
  }

  /**
   * The end of the path: the request goes to the present session. "Ready?" is asked once more; if the session was
   * lost since the pick, the error is `unsent` and another replica is picked.
   */
  handle(request: Request): Promise<Response> {
    const { path, connection } = this.#replica;
    if (path !== undefined) return path(request);
    return Promise.reject(
      new TroupeError('unavailable', `the connection is ${connection.state}`, {
        server: this.#server,
        connection: this.id,
        attempt: request.attempt,
        cause: connection.error,
      }),
    );
  }
}
