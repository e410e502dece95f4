import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Request } from '../core/request.ts';
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
  const request = parts.requests.create(
    { method: LIST_METHODS[kind], params: undefined, target: undefined },
    options,
    defaultTimeoutMs,
  );
  const { servers, knows, catalog, pinName } = parts.scopes.view(request.principal);
  const timeoutMs = request.deadline - request.startedAt;
  const disarm = expire(parts.clock, request.cancellation, timeoutMs, LIST_METHODS[kind]);
  try {
    const wanted = options?.servers;
    if (wanted !== undefined)
      for (const name of wanted)
        if (!servers.has(name)) throw new TroupeError('not_found', `no server "${name}"`);
    const asked = [...servers.values()].filter((server) => wanted?.includes(server.name) ?? true);
    const again = request.cache !== 'use';
    const outcomes = await Promise.all(
      asked.map((server) =>
        ensureListed(server, kind, {
          cancellation: request.cancellation,
          again,
          knows: (name) => knows(name, kind),
        }),
      ),
    );
    if (options?.signal?.aborted === true) request.cancellation.throwIfCancelled();
    const listed = parts.listed(kind, outcomes, { catalog: catalog(), pinName });
    const failures = listed.failures.map((row) => {
      const error = parts.clean(row.error);
      return { ...row, message: error.message, error };
    });
    return await seenBy(parts, kind, request, { ...listed, failures });
  } finally {
    disarm();
    request.cancellation.settled();
  }
}

/** The list without what the principal may not see, on record like any other operation. */
async function seenBy(
  parts: EngineParts,
  kind: ListKind,
  request: Request,
  whole: ListResult,
): Promise<ListResult> {
  const { trust } = parts;
  if (trust.layers.length === 0) return whole;
  const response = await trust.guard(request, () => Promise.resolve({ [kind]: whole.items } as Json));
  const items = response[kind] as ListResult['items'];
  const { sight } = trust;
  if (sight === undefined) return { ...whole, items };
  const known = new Set(items.map(({ server }) => server));
  // That a server failed tells that it is there.
  const failures = whole.failures.filter(
    ({ server }) => known.has(server) || !sight.hides(server, request.principal),
  );
  return { ...whole, items, failures };
}
