import type { Clock } from '../core/clock.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import { type Bulkhead, createBulkhead, inSlot } from './bulkhead.ts';

/** How much of one server one tenant, one tool and all together may have, over all replicas. */
export interface AdmissionPolicy {
  /** Requests waiting in each of these lines. The engine gives 256 (`reliability.md` §8). */
  readonly maxQueue: number;
  /** Slots of one tenant; `Infinity` for no limit. */
  readonly perTenant: number;
  /** Slots of one tool; `Infinity` for no limit. */
  readonly perTool: number;
  /** Slots of the whole server. Default `Infinity`: the slots of the replicas alone count. */
  readonly perServer?: number | undefined;
  /** See `BulkheadOptions.discipline`. */
  readonly discipline?: 'fifo' | 'adaptive-lifo' | undefined;
}

export interface AdmissionOptions {
  readonly clock: Clock;
  /** `undefined`: everything is admitted. */
  readonly policy: (request: Request) => AdmissionPolicy | undefined;
}

/** Lines of one set of rules kept although nobody stands in them; beyond that, idle ones are let go (a tenant may never come again). */
const MAX_LINES = 1_024;

/**
 * Before any attempt: a request takes a slot of its tenant, then of its tool, then of the server. One tenant or one
 * slow tool can fill its own line, nobody else's. Always in this order, so that no two requests wait for each other.
 */
export function admission({ clock, policy }: AdmissionOptions): Interceptor {
  // By the rules too: a server that is configured anew has new ones, and its old lines empty by themselves.
  const linesBy = new WeakMap<AdmissionPolicy, Map<string, Bulkhead>>();

  const lineOf = (name: string, max: number, request: Request, rules: AdmissionPolicy): Bulkhead => {
    const key = `${request.server ?? ''}\n${name}`;
    let lines = linesBy.get(rules);
    if (lines === undefined) {
      lines = new Map();
      linesBy.set(rules, lines);
    }
    let line = lines.get(key);
    if (line === undefined) {
      if (lines.size >= MAX_LINES) dropIdle(lines);
      const { maxQueue, discipline } = rules;
      line = createBulkhead({ clock, name, server: request.server, max, maxQueue, discipline });
      lines.set(key, line);
    }
    return line;
  };

  const inLine = (line: Bulkhead | undefined, next: Handler, request: Request): Promise<Response> => {
    return line === undefined ? next(request) : inSlot(next, request, line, clock);
  };

  return (next) => (request) => {
    const rules = policy(request);
    if (rules === undefined) return next(request);
    const { perTenant, perTool, perServer = Infinity } = rules;
    const tenantId = request.principal?.tenant ?? request.principal?.id;
    const toolId = request.method === 'tools/call' ? request.target : undefined;

    const server = perServer === Infinity ? undefined : lineOf('server', perServer, request, rules);
    const tool =
      toolId === undefined || perTool === Infinity
        ? undefined
        : lineOf(`tool ${toolId}`, perTool, request, rules);
    const tenant =
      tenantId === undefined || perTenant === Infinity
        ? undefined
        : lineOf(`tenant ${tenantId}`, perTenant, request, rules);

    if (tenant === undefined) {
      if (tool === undefined) return inLine(server, next, request);
      return inLine(tool, server === undefined ? next : (inner) => inLine(server, next, inner), request);
    }
    return inLine(tenant, (inner) => inLine(tool, (last) => inLine(server, next, last), inner), request);
  };
}

function dropIdle(lines: Map<string, Bulkhead>): void {
  for (const [key, line] of lines) if (line.inFlight === 0 && line.queued === 0) lines.delete(key);
}
