import type { ResolvedReplica, ResolvedServer } from '../config/config.ts';
import type { Connection } from '../connection/connection.ts';
import type { ServerProcess } from '../connection/server-process.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler } from '../core/interceptor.ts';
import type { Session } from '../mcp/session/session.ts';
import type { CircuitBreaker, HeldBreaker } from '../resilience/circuit-breaker.ts';
import type { Candidate } from '../routing/pool.ts';
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
  /** Sessions so far. */
  sessions: number;
}

/** A replica as the pool sees it; what may change is read when it is needed. */
export function candidate(replica: Replica, server: ResolvedServer): Candidate {
  const { config, connection } = replica;
  return {
    id: config.id,
    weight: config.weight,
    tier: config.tier,
    slots: server.maxInFlight,
    get availability() {
      if (connection.session === undefined || replica.breaker?.admits === false) return 'impossible';
      return replica.odd ? 'suspect' : 'usable';
    },
    /** A legacy session is the server's memory of us; a modern server has none. */
    get epoch() {
      return replica.lastSession?.era === 'legacy' ? replica.sessions : undefined;
    },
    get error() {
      return connection.error;
    },
    get blocked() {
      const { breaker } = replica;
      if (breaker === undefined || breaker.admits || connection.session === undefined) return undefined;
      return new TroupeError('circuit_open', `the circuit breaker is ${breaker.state}`, {
        server: server.name,
        connection: config.id,
        retryAfterMs: breaker.retryAfterMs,
      });
    },
    get state() {
      return connection.state;
    },
    get health() {
      return replica.breaker;
    },
    /**
     * The end of the path: the request goes to the present session. "Ready?" is asked once more; if the session was
     * lost since the pick, the error is `unsent` and another replica is picked.
     */
    handle(request) {
      if (replica.path !== undefined) return replica.path(request);
      return Promise.reject(
        new TroupeError('unavailable', `the connection is ${connection.state}`, {
          server: server.name,
          connection: config.id,
          attempt: request.attempt,
          cause: connection.error,
        }),
      );
    },
  };
}
