import { TroupeError } from '../core/errors.ts';
import type { Handler, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import type { ReplicaPool } from './pool.ts';

export interface RouteOptions {
  /** The pool of a server for this request (its credential scope may depend on the principal). Read at every attempt. */
  readonly pool: (server: string, request: Request) => ReplicaPool | undefined;
  /**
   * Asked when a pool has nothing ready: a promise to wait for (a lazy server connects), after which the pool is asked
   * once more; undefined to fail at once. It should reject or settle by the deadline; the request's cancellation ends the
   * wait in any case.
   */
  readonly awaitReady?: ((server: string, request: Request) => Promise<unknown> | undefined) | undefined;
}

/** The terminal handler of the request path: from a request with a server to an answer of one of its replicas. */
export function createRoute(options: RouteOptions): Handler {
  const { pool, awaitReady } = options;

  const onceReady = async (server: string, request: Request, ready: Promise<unknown>): Promise<Response> => {
    const cancelled = request.cancellation.waiting();
    try {
      await Promise.race([ready, cancelled.promise]);
    } finally {
      cancelled.done();
    }
    // The pool may be another one by now.
    const found = pool(server, request);
    if (found === undefined) throw noServer(server, request);
    return found.handle(request);
  };

  return (request) => {
    const { server } = request;
    if (server === undefined) {
      return Promise.reject(
        new TroupeError('internal', 'the request reached the route without a server', {
          attempt: request.attempt,
        }),
      );
    }
    const found = pool(server, request);
    if (found === undefined) return Promise.reject(noServer(server, request));
    if (awaitReady !== undefined && !request.cancellation.cancelled && !found.hasReady) {
      const ready = awaitReady(server, request);
      if (ready !== undefined) return onceReady(server, request, ready);
    }
    return found.handle(request);
  };
}

function noServer(server: string, request: Request): TroupeError {
  return new TroupeError('not_found', 'there is no such server', { server, attempt: request.attempt });
}
