import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import type { Replica } from './server.ts';

/**
 * The end of the path: hands the request to the present session of a connection. "Ready?" is asked here once more; if
 * the session was lost since the pick, the error is `unsent` and another one is picked.
 */
export function handOver(replica: Replica, request: Request, clock: Clock): Promise<Response> {
  const { connection } = replica;
  const { session } = connection;
  if (session === undefined) {
    return Promise.reject(
      new TroupeError('unavailable', `the connection is ${connection.state}`, {
        server: connection.server,
        connection: connection.id,
        attempt: request.attempt,
        cause: connection.error,
      }),
    );
  }
  request.facts.attempts += 1;
  request.facts.connection = connection.id;
  const started = clock.now();
  return session.request(request).then((response) => {
    const elapsed = clock.now() - started;
    replica.calls += 1;
    replica.latencyMs = replica.latencyMs === undefined ? elapsed : replica.latencyMs + LATENCY_WEIGHT * (elapsed - replica.latencyMs);
    return response;
  });
}

/** Weight of the newest sample in the moving average. */
const LATENCY_WEIGHT = 0.2;
