import type { Config } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { compose, type Handler, type Interceptor } from '../core/interceptor.ts';
import { isJson, type Json } from '../core/json-rpc.ts';
import type { Request } from '../core/request.ts';
import type { Logger, Random } from '../core/ports.ts';
import type { Stages } from '../core/stages.ts';
import { admission, type AdmissionPolicy } from '../resilience/admission.ts';
import { cache } from '../resilience/cache.ts';
import { deadline } from '../resilience/deadline.ts';
import { hedge } from '../resilience/hedge.ts';
import { inputRounds } from '../resilience/input-rounds.ts';
import type { Pause } from '../resilience/pause.ts';
import { rateLimit } from '../resilience/rate-limit.ts';
import { retry } from '../resilience/retry.ts';
import { singleFlight } from '../resilience/single-flight.ts';
import type { RoutingRules } from '../routing/rules.ts';
import { createRoute } from '../routing/route.ts';
import type { ConnectionPool } from '../supervision/pool.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import { failover, hasStandIn } from './failover.ts';
import type { Inbound } from './inbound.ts';
import type { ItemFlags } from './item-flags.ts';
import { LIST_PARAMS } from './lists.ts';
import { resolve } from './resolve.ts';
import type { Scopes, View } from './scopes.ts';
import type { Trust } from './trust.ts';

import type { Server } from './server.ts';

export interface PipelineDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly bus: EventBus;
  readonly servers: ReadonlyMap<string, Server>;
  readonly scopes: Pick<Scopes, 'server' | 'view'>;
  readonly inbound: Inbound;
  readonly connections: ConnectionPool;
  readonly rules: RoutingRules;
  readonly trust: Trust;
  readonly flags: Pick<ItemFlags, 'inspect'>;
  readonly stages: Stages;
  readonly pause: Pause;
  /** The end of each operation. */
  readonly onSettled: (request: Request, error?: unknown) => unknown;
}

/** `logging/setLevel` in both eras: now and for each later session. */
function logLevel(serverOf: (request: Request) => Server | undefined): Interceptor {
  return (next) => (request) => {
    const server = request.method === 'logging/setLevel' ? serverOf(request) : undefined;
    return server === undefined
      ? next(request)
      : server.setLogLevel(String(request.params?.['level'])).then(() => NOTHING);
  };
}

/** A request that waited for a connection until its time was over failed because the pool was full. */
function namingFullPools(connections: ConnectionPool): Interceptor {
  return (next) => (request) => {
    if (!connections.bounded) return next(request);
    return next(request).catch((error: unknown) => {
      throw connections.refusal(request.cancellation.reason) ?? error;
    });
  };
}

/** Without limits of its own the layer has nothing to do: the slots of the replicas count. */
function limited(policy: AdmissionPolicy | undefined): AdmissionPolicy | undefined {
  if (policy === undefined || (policy.perTenant === Infinity && policy.perTool === Infinity))
    return undefined;
  return policy;
}

/** A list asked for directly may be newer than the one that the catalog has, and another. */
function inspected(flags: Pick<ItemFlags, 'inspect'>): Interceptor {
  return (next) => (request) => {
    const kind = LIST_PARAMS[request.method];
    if (kind === undefined) return next(request);
    const { server = '' } = request;
    return next(request).then((response) => {
      const items = response[kind];
      if (Array.isArray(items)) flags.inspect(server, kind, (items as unknown[]).filter(isJson));
      return response;
    });
  };
}

const NOTHING = Object.freeze({});

/** What a modern server asks in a result goes through the same door as what a legacy one pushes. */
async function answerInput(
  inbound: Inbound,
  request: Request,
  method: string,
  params: Json | undefined,
): Promise<Json> {
  const controller = new AbortController();
  const slot = request.cancellation.listen((reason) => controller.abort(reason));
  try {
    const from = {
      server: request.server ?? '',
      connection: request.facts.connection ?? '',
      principal: request.principal,
    };
    return await inbound.answer(from, method, params, controller.signal);
  } finally {
    request.cancellation.ignore(slot);
  }
}

/**
 * The path of a request, outermost first. Each line says why it stands where it stands; moving a line means rewriting
 * its reason.
 */
export function buildPipeline(deps: PipelineDeps): Handler {
  const { config, clock, random, servers, scopes, connections, stages, pause } = deps;
  /** The server itself: its settings, budgets and limits are the same for everybody. */
  const serverOf = (request: Request): Server | undefined => servers.get(request.server ?? '');
  /** The connections that this request may use, with their memory. */
  const scopedOf = (request: Request): Server | undefined =>
    scopes.server(request.server ?? '', request.principal);
  const view = (principal: Request['principal']): View => scopes.view(principal);
  const path: readonly Interceptor[] = [
    // Above everything that can end an operation, its deadline too: each has one intent and one outcome on record.
    ...deps.trust.record,
    // Total time: above everything, so that slow host interceptors, waiting for a connection, retries and rounds share it.
    deadline({ clock, onSettled: deps.onSettled, stages }),
    // Above resolve, which may wait for a connection as well; below deadline, which is what ends the wait.
    namingFullPools(connections),
    // The host's own: above resolve, since they may rewrite the name.
    ...config.interceptors,
    // From name to server: above everything that needs to know the server.
    resolve({
      view,
      rules: deps.rules,
      sight: deps.trust.sight,
    }),
    // Intent above policy: a refusal is recorded too, and with the server's name. Policy above cache, so that a refusal is never answered from memory,
    // and below resolve, since it judges servers and their own names. Quarantine below policy: who may not know a tool does
    // not learn that it is held.
    ...deps.trust.layers,
    // The level outlives sessions, so the server keeps it; below resolve, since it needs the server.
    logLevel(scopedOf),
    // Above cache, since what is remembered was never looked at by anybody else; below policy, as the catalog's lists are.
    inspected(deps.flags),
    // Above failover: what is remembered is asked of nobody. Reads only, opt-in for tools.
    cache({ of: (request) => scopedOf(request)?.cache }),
    // Above retry, so that one shared call retries and not each caller; below cache, so that only misses coalesce.
    singleFlight({ clock }),
    // Above admission, so that each server on the list is asked under its own limits.
    failover((principal) => view(principal).servers, deps.trust.admits),
    // Above retry, so that each round of `input_required` is a new pick and spends no retry budget.
    inputRounds({
      clock,
      pause,
      answer: (request, _key, { method, params }) => answerInput(deps.inbound, request, method, params),
      maxRounds: (request) => (serverOf(request)?.config.limits ?? config.limits).inputRounds,
    }),
    // Tenant and tool slots, before any attempt is made: one tenant's queue is nobody else's.
    admission({ clock, policy: (request) => limited(serverOf(request)?.config.admission) }),
    // Below admission, so that who waits for the rate holds a slot and the line stays bounded.
    rateLimit({ clock, pause, bucket: (request) => serverOf(request)?.rate }),
    // Above route, so that every attempt picks again; asks the delivery fact first, then the budget.
    retry({
      clock,
      random,
      pause,
      policy: (request) => serverOf(request)?.config.retry,
      budget: (request) => serverOf(request)?.retryBudget,
      stages,
    }),
    // Innermost: a second replica for reads, inside one attempt. Nothing to hedge with where there is one replica.
    hedge({
      clock,
      policy: (request) => {
        const server = serverOf(request);
        return server === undefined || server.replicas.length < 2 ? undefined : server.config.hedge;
      },
      budget: (request) => serverOf(request)?.retryBudget,
      utilisation: (request) => scopedOf(request)?.utilisation ?? 1,
      hasOther: (request, tried) => scopedOf(request)?.pool.hasOther(request, tried) === true,
    }),
  ];
  const route = createRoute({
    pool: (server, { principal }) => scopes.server(server, principal)?.pool,
    // A connection that comes up is waited for, inside the deadline; one that is down is not, nor where another
    // server may answer at once.
    awaitReady: (server, request) => {
      const found = scopes.server(server, request.principal);
      return found === undefined || hasStandIn(found, view(request.principal).servers)
        ? undefined
        : found.ready(request.cancellation);
    },
  });
  return compose(path, route);
}
