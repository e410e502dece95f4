import type { Catalog } from '../catalog/catalog.ts';
import type { Config } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { ListKind } from '../core/events.ts';
import { compose, type Handler, type Interceptor } from '../core/interceptor.ts';
import type { Logger, Random } from '../core/ports.ts';
import { deadline } from '../resilience/deadline.ts';
import { createRetryBudget, type RetryBudget } from '../resilience/retry-budget.ts';
import { retry } from '../resilience/retry.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import type { Inbound } from './inbound.ts';
import { resolve } from './resolve.ts';
import { route } from './route.ts';
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
  return compose(path, route({ servers, clock }));
}
