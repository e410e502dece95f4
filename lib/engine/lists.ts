import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import { LIST_METHODS } from '../mcp/session/list.ts';
import type { EngineParts } from './compose.ts';
import type { ListResult } from './contract.ts';
import { ensureListed, expire } from './listing.ts';
import type { RequestOptions } from './request-factory.ts';

/** The list methods, for callers who use `request`. */
export const LIST_PARAMS: Readonly<Record<string, ListKind>> = Object.fromEntries(
  Object.entries(LIST_METHODS).map(([kind, method]) => [method, kind as ListKind]),
);

/**
 * One aggregated list: every server is made sure of at the same time, then the catalog is read once. A server that
 * fails is a row; what it last listed stays, marked stale.
 */
export async function listServers(
  parts: EngineParts,
  kind: ListKind,
  options: RequestOptions | undefined,
  defaultTimeoutMs: number,
): Promise<ListResult> {
  const { request, done } = parts.requests.create(
    { method: LIST_METHODS[kind], params: undefined, target: undefined },
    options,
    defaultTimeoutMs,
  );
  const timeoutMs = request.deadline - request.startedAt;
  const disarm = expire(parts.clock, request.cancellation, timeoutMs, LIST_METHODS[kind]);
  try {
    const wanted = options?.servers;
    if (wanted !== undefined) for (const name of wanted) if (!parts.servers.has(name)) throw new TroupeError('not_found', `no server "${name}"`);
    const asked = [...parts.servers.values()].filter((server) => wanted?.includes(server.name) ?? true);
    const again = request.cache !== 'use';
    const outcomes = await Promise.all(
      asked.map((server) =>
        ensureListed(server, kind, {
          cancellation: request.cancellation,
          again,
          knows: (name) => parts.knows(name, kind),
        }),
      ),
    );
    if (options?.signal?.aborted === true) request.cancellation.throwIfCancelled();
    return parts.listed(kind, outcomes);
  } finally {
    disarm();
    done();
  }
}
