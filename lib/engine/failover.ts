import { isTroupeError, type ErrorCode } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { amend, type Request } from '../core/request.ts';
import { isThenable } from '../security/policy-engine.ts';
import { unless } from './listing.ts';
import type { Server } from './server.ts';

/** Refusals that another server need not share. */
const ELSEWHERE: ReadonlySet<ErrorCode> = new Set([
  'unavailable',
  'connection_lost',
  'circuit_open',
  'queue_full',
  'auth_required',
]);

/** Whether policy, pins and audit let a request go to the server it names. */
type Admits = (request: Request) => boolean | Promise<boolean>;

/**
 * When a server cannot take a request, those declared equivalent are asked, in order; only with what is certain not to
 * have run, or changes nothing. The declaration says that they mean the same by the same name.
 */
export function failover(
  serversOf: (principal: Request['principal']) => ReadonlyMap<string, Server>,
  admits: Admits | undefined,
): Interceptor {
  return (next) => (request) => {
    const servers = serversOf(request.principal);
    const server = servers.get(request.server ?? '');
    if (server === undefined || server.config.equivalentTo.length === 0) return next(request);
    return inTurn(next, request, server.config.equivalentTo, servers, admits);
  };
}

async function inTurn(
  next: Handler,
  request: Request,
  others: readonly string[],
  servers: ReadonlyMap<string, Server>,
  admits: Admits | undefined,
): Promise<Response> {
  try {
    return await next(request);
  } catch (error) {
    return elsewhere(error, next, request, others, servers, admits);
  }
}

async function elsewhere(
  error: unknown,
  next: Handler,
  request: Request,
  others: readonly string[],
  servers: ReadonlyMap<string, Server>,
  admits: Admits | undefined,
): Promise<Response> {
  const harmless = isTroupeError(error) && (error.delivery === 'unsent' || request.operation !== 'unsafe');
  const left = others.filter((name) => servers.has(name));
  // In order, but one that would have to be waited for only when none could answer now.
  const other = left.find((name) => servers.get(name)?.pool.hasReady) ?? left[0];
  if (!harmless || !ELSEWHERE.has(error.code) || other === undefined || request.cancellation.cancelled)
    throw error;
  const rest = left.filter((name) => name !== other);
  const instead = amend(request, { server: other, attempt: request.facts.attempts + 1, tried: [] });
  // What was decided was decided about the first server. One that must not be asked is passed over like one that is down.
  const admitted = admits === undefined || admits(instead);
  if (!(isThenable(admitted) ? await unless(request.cancellation, admitted) : admitted))
    return elsewhere(error, next, request, rest, servers, admits);
  request.facts.server = other;
  try {
    return await inTurn(next, instead, rest, servers, admits);
  } catch (last) {
    // That it never left for the last one says nothing about those before it.
    throw isTroupeError(last) && last.delivery === 'unsent' ? last.with({ delivery: error.delivery }) : last;
  }
}

/** Whether another server could answer in its place now. */
export function hasStandIn(server: Server, servers: ReadonlyMap<string, Server>): boolean {
  return (
    server.connected === undefined &&
    server.config.equivalentTo.some((name) => servers.get(name)?.connected !== undefined)
  );
}
