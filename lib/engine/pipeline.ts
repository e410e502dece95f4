import type { Catalog } from '../catalog/catalog.ts';
import type { Config } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { ListKind } from '../core/events.ts';
import { compose, type Handler, type Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Request } from '../core/request.ts';
import type { Logger, Random } from '../core/ports.ts';
import { deadline } from '../resilience/deadline.ts';
import { createRetryBudget, type RetryBudget } from '../resilience/retry-budget.ts';
import { inputRounds } from '../resilience/input-rounds.ts';
import { retry } from '../resilience/retry.ts';
import { createRoute } from '../routing/route.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import type { Inbound } from './inbound.ts';
import { resolve } from './resolve.ts';

import type { Server } from './server.ts';

export interface PipelineDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly bus: EventBus;
  readonly servers: ReadonlyMap<string, Server>;
  readonly catalog: () => Catalog;
  readonly knows: (server: string, kind: ListKind) => boolean;
  readonly inbound: Inbound;
}

/** `logging/setLevel` in both eras: now and for each later session. */
function logLevel(servers: ReadonlyMap<string, Server>): Interceptor {
  return (next) => (request) => {
    const server = request.method === 'logging/setLevel' ? servers.get(request.server ?? '') : undefined;
    return server === undefined ? next(request) : server.setLogLevel(String(request.params?.['level'])).then(() => NOTHING);
  };
}

const NOTHING = Object.freeze({});

/** What a modern server asks in a result goes through the same door as what a legacy one pushes. */
async function answerInput(inbound: Inbound, request: Request, method: string, params: Json | undefined): Promise<Json> {
  const controller = new AbortController();
  const slot = request.cancellation.listen((reason) => controller.abort(reason));
  try {
    const from = { server: request.server ?? '', connection: request.facts.connection ?? '', principal: request.principal };
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
  const { config, clock, random, servers } = deps;
  const budgets = new Map<string, RetryBudget>();
  const path: readonly Interceptor[] = [
    // Total time: above everything, so that slow host interceptors, waiting for a connection, retries and rounds share it.
    deadline({ clock }),
    // The host's own: above resolve, since they may rewrite the name.
    ...config.interceptors,
    // From name to server: above everything that needs to know the server.
    resolve({ catalog: deps.catalog, knows: deps.knows, servers }),
    // The level outlives sessions, so the server keeps it; below resolve, since it needs the server.
    logLevel(servers),
    // Above retry, so that each round of `input_required` is a new pick and spends no retry budget.
    inputRounds({
      clock,
      answer: (request, _key, { method, params }) => answerInput(deps.inbound, request, method, params),
      maxRounds: (request) => (servers.get(request.server ?? '')?.config.limits ?? config.limits).inputRounds,
    }),
    // Above route, so that every attempt picks again; asks the delivery fact first, then the budget.
    retry({
      clock,
      random,
      policy: (request) => servers.get(request.server ?? '')?.config.retry,
      budget: (request) => {
        const server = servers.get(request.server ?? '');
        if (server?.config.retry === undefined) return undefined;
        let budget = budgets.get(server.name);
        if (budget === undefined) {
          const { budgetRatio, budgetMinPerSecond, budgetWindowMs } = server.config.retry;
          budget = createRetryBudget({ clock, ratio: budgetRatio, minPerSecond: budgetMinPerSecond, windowMs: budgetWindowMs });
          budgets.set(server.name, budget);
        }
        return budget;
      },
    }),
  ];
  const route = createRoute({
    pool: (server) => servers.get(server)?.pool,
    // A connection that comes up is waited for, inside the deadline; one that is down is not.
    awaitReady: (server) => servers.get(server)?.ready(),
  });
  return compose(path, route);
}
