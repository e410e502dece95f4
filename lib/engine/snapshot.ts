import { fleetSnapshot, type ConnectionSnapshot, type FleetSnapshot } from '../supervision/fleet.ts';
import type { Replica, Server } from './server.ts';

/** The fleet as it stands, with the numbers of this moment. */
export function takeSnapshot(at: number, servers: Iterable<Server>): FleetSnapshot {
  const rows: ConnectionSnapshot[] = [];
  for (const server of servers) for (const replica of server.replicas) rows.push(row(server, replica));
  return fleetSnapshot(at, rows);
}

function row(server: Server, replica: Replica): ConnectionSnapshot {
  const { connection, lastSession } = replica;
  const load = server.pool.load(connection.id);
  return Object.freeze({
    id: connection.id,
    server: server.name,
    state: connection.state,
    since: connection.since,
    attempt: connection.attempt,
    availability: server.pool.candidates.find(({ id }) => id === connection.id)?.availability ?? 'impossible',
    error: connection.error,
    parked: connection.parked ? true : undefined,
    transport: lastSession?.transport,
    era: lastSession?.era,
    protocolVersion: lastSession?.protocolVersion,
    serverInfo: lastSession?.serverInfo,
    pid: replica.process?.pid,
    inFlight: load?.inFlight ?? 0,
    queued: load?.queued ?? 0,
    breaker: replica.breaker?.state ?? 'closed',
    latencyMs: load?.latencyMs,
    calls: load?.calls ?? 0,
    restarts: connection.restarts,
    lastProbe: replica.lastProbe,
  });
}
