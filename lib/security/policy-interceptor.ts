import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { amend } from '../core/request.ts';
import type { Request } from '../core/request.ts';
import { createStages, type Stages } from '../core/stages.ts';
import { askPolicy, isThenable } from './policy-engine.ts';
import type { Decision, PolicyEngine, PolicyQuery } from './policy-engine.ts';
import { listingOf, queryOf } from './policy-request.ts';
import type { Location } from './policy-request.ts';
import { isEmptyList, isListing, isVisible, UNDECIDED, visibleItems } from './policy-visibility.ts';

/** A refusal as the audit trail should know it; the caller is told less. */
export interface Denial {
  readonly request: Request;
  readonly query: PolicyQuery;
  readonly decision: Decision;
  /** The caller may see the thing and was told that it is denied; otherwise that it is unknown. */
  readonly visible: boolean;
}

export interface PolicyInterceptorOptions {
  readonly engine: PolicyEngine;
  /**
   * Which server and original name a request means; `undefined` when nothing is known by that name. May throw
   * (`ambiguous_name`), naming only what the principal may see. Default: as the request says.
   */
  readonly locate?: (request: Request) => Location | undefined;
  /** The error for something unknown, the very one that routing throws: a hidden thing must not differ from it. */
  readonly notFound?: (request: Request) => TroupeError;
  /** Whether it is known already that the server lists nothing that the principal may see: then it is not asked for. */
  readonly nothingSeen?: (server: string, principal: Request['principal']) => boolean | Promise<boolean>;
  /** Told of every refusal before the caller is; not of names that nobody knows. */
  readonly onDenied?: (denial: Denial) => void;
  /** Where this stage counts; default: nowhere that is read. */
  readonly stages?: Stages | undefined;
}

/**
 * Lets a request pass that the policy allows, pinned to the server it was decided for. What is refused looks unknown
 * (`not_found`), or `denied` where the principal may see it. Lists pass, and lose what may not be seen.
 */
export function policy(options: PolicyInterceptorOptions): Interceptor {
  const { engine, locate, stages = createStages() } = options;
  return (next) => (request) => {
    stages.policy += 1;
    const lists = isListing(request.method);
    if (lists && request.server === undefined) return filtered(engine, next, request);
    let query: PolicyQuery;
    try {
      query = queryOf(request, locate?.(request));
    } catch (error) {
      return Promise.reject(TroupeError.from(error));
    }
    const decide = (decision: Decision): Promise<Response> => {
      if (lists) return list(options, next, request, query, decision);
      if (decision.effect !== 'allow') return refuse(options, request, query, decision);
      return next(pinned(request, query.server));
    };
    const decision = askPolicy(engine, query);
    return isThenable(decision) ? inTime(request, decision).then(decide) : decide(decision);
  };
}

/** A policy that does not answer has not allowed anything: when the time of the request is over, it ends without it. */
async function inTime<T>({ cancellation }: Request, answer: Promise<T>): Promise<T> {
  const wait = cancellation.waiting();
  try {
    return await Promise.race([answer, wait.promise]);
  } finally {
    wait.done();
  }
}

/** What was decided about one server must not be answered by another. */
function pinned(request: Request, server: string | undefined): Request {
  return server === undefined || server === request.server ? request : amend(request, { server });
}

async function filtered(engine: PolicyEngine, next: Handler, request: Request): Promise<Response> {
  const kept = visibleItems(engine, request, await next(request));
  return isThenable(kept) ? inTime(request, kept) : kept;
}

/** A server is hidden when listing is forbidden there, or when nothing of what it lists may be seen. */
async function list(
  options: PolicyInterceptorOptions,
  next: Handler,
  request: Request,
  query: PolicyQuery,
  decision: Decision,
): Promise<Response> {
  if (decision.effect === 'allow') return filtered(options.engine, next, request);
  if (decision.ruleId !== UNDECIDED) return refuse(options, request, query, decision);
  const empty = query.server !== undefined && options.nothingSeen?.(query.server, request.principal);
  if (isThenable(empty) ? await inTime(request, empty) : empty)
    return refuse(options, request, query, decision);
  const response = await filtered(options.engine, next, request);
  return isEmptyList(request.method, response) ? refuse(options, request, query, decision) : response;
}

async function refuse(
  options: PolicyInterceptorOptions,
  request: Request,
  query: PolicyQuery,
  decision: Decision,
): Promise<never> {
  const listing = query.server === undefined ? undefined : listingOf(query);
  const seen = listing === undefined ? false : isVisible(options.engine, listing);
  const visible = isThenable(seen) ? await inTime(request, seen) : seen;
  if (query.server !== undefined || decision.ruleId !== UNDECIDED)
    tell(options, { request, query, decision, visible });
  if (!visible) throw (options.notFound ?? unknown)(request);
  throw new TroupeError('denied', `not allowed: ${request.method} ${request.target ?? ''}`.trimEnd(), {
    server: query.server,
    data: { reason: 'policy' },
  });
}

/** A listener that throws changes nothing about the refusal. */
function tell({ onDenied }: PolicyInterceptorOptions, denial: Denial): void {
  try {
    onDenied?.(denial);
  } catch {
    // The trail has its own way to report that it cannot write.
  }
}

function unknown(request: Request): TroupeError {
  return new TroupeError('not_found', `nothing is known as "${request.target ?? request.method}"`);
}
