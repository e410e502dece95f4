import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import { handOver } from './handover.ts';
import { unless } from './listing.ts';
import type { Replica, Server } from './server.ts';

/** The terminal: a connected replica of the request's server, the least loaded first; waits while one connects. */
export function route(deps: { readonly servers: ReadonlyMap<string, Server>; readonly clock: Clock }): Handler {
  return (request) => {
    const server = deps.servers.get(request.server ?? '');
    if (server === undefined) return Promise.reject(new TroupeError('not_found', `no server "${request.server}"`));
    const replica = pick(server, request);
    return replica === undefined ? waitAndSend(server, request, deps.clock) : handOver(replica, request, deps.clock);
  };
}

function pick(server: Server, request: Request): Replica | undefined {
  let best: Replica | undefined;
  for (const replica of server.replicas) {
    const { session } = replica.connection;
    if (session === undefined || (request.tried.includes(replica.connection.id) && server.replicas.length > 1)) continue;
    if (best === undefined || session.inFlight < (best.connection.session?.inFlight ?? Infinity)) best = replica;
  }
  return best;
}

async function waitAndSend(server: Server, request: Request, clock: Clock): Promise<Response> {
  server.wake();
  while (server.connected === undefined) {
    request.cancellation.throwIfCancelled();
    if (!server.willConnect) {
      throw new TroupeError('unavailable', `no ready connection (${states(server)})`, { server: server.name, cause: server.error });
    }
    await unless(request.cancellation, Promise.race(server.replicas.map(({ connection }) => changed(connection))));
  }
  return handOver(pick(server, request) ?? server.connected, request, clock);
}

function changed(connection: Replica['connection']): Promise<void> {
  const before = connection.state;
  return connection.settled((state) => state !== before);
}

function states(server: Server): string {
  return server.replicas.map(({ connection }) => connection.state).join(', ');
}
