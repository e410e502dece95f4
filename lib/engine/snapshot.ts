import { fleetSnapshot, type ConnectionSnapshot, type FleetSnapshot } from '../supervision/fleet.ts';
import type { TroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Replica } from './replica.ts';
import type { Server } from './server.ts';

/** What leaves the engine leaves without our secrets. */
interface Clean {
  readonly error: (error: TroupeError) => TroupeError;
  readonly info: (serverInfo: Json) => Json;
}

/** The fleet as it stands, with the numbers of this moment. */
export function takeSnapshot(at: number, servers: Iterable<Server>, clean: Clean): FleetSnapshot {
  const rows: ConnectionSnapshot[] = [];
  for (const server of servers) for (const replica of server.replicas) rows.push(row(server, replica, clean));
  return fleetSnapshot(at, rows);
}

function row(server: Server, replica: Replica, clean: Clean): ConnectionSnapshot {
  const { connection, lastSession } = replica;
  const load = server.pool.load(connection.id);
  return Object.freeze({
    id: connection.id,
    server: server.name,
    state: connection.state,
    since: connection.since,
    attempt: connection.attempt,
    availability: server.pool.candidates.find(({ id }) => id === connection.id)?.availability ?? 'impossible',
    error: connection.error === undefined ? undefined : clean.error(connection.error),
    parked: connection.parked ? true : undefined,
    transport: lastSession?.transport,
    era: lastSession?.era,
    protocolVersion: lastSession?.protocolVersion,
    serverInfo: lastSession?.serverInfo === undefined ? undefined : clean.info(lastSession.serverInfo),
    pid: replica.process?.pid,
    inFlight: load?.inFlight ?? 0,
    queued: load?.queued ?? 0,
    breaker: replica.breaker?.state ?? (replica.held === undefined ? 'closed' : 'open'),
    latencyMs: load?.latencyMs,
    calls: load?.calls ?? 0,
    restarts: connection.restarts,
    lastProbe: replica.lastProbe,
  });
}
