import { buildLists } from '../catalog/build-lists.ts';
import { Cancellation } from '../core/cancellation.ts';
import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import { Pace } from '../core/pace.ts';
import { amend, type Request } from '../core/request.ts';
import { LIST_METHODS } from '../mcp/session/list.ts';
import type { EngineParts } from './compose.ts';
import type { ListResult } from './contract.ts';
import { ensureListed, expire, isListed, unless } from './listing.ts';
import type { RequestOptions } from './request-factory.ts';
import type { Server } from './server.ts';
import type { Sight } from './sight.ts';

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
  const { clock, trust } = parts;
  const timeoutMs = request.deadline - request.startedAt;
  const method = LIST_METHODS[kind];
  const disarm = expire(clock, request.cancellation, timeoutMs, method);
  // A server that is late is a row of the list, and does not take from the policy the time to judge the other rows.
  const judged = new Cancellation();
  const disarmJudged = expire(clock, judged, timeoutMs + JUDGING_MS, method);
  const slot = request.cancellation.listen((reason) => {
    if (reason.code !== 'deadline_exceeded') judged.cancel(reason);
  });
  let failures: ListResult['failures'] = [];
  try {
    const whole = await trust.recorded(amend(request, { cancellation: judged }), (asked) =>
      trust.guard(asked, async () => {
        const listed = await listAll(parts, kind, request, options?.servers);
        ({ failures } = listed);
        return { ...listed, [kind]: listed.items };
      }),
    );
    const { [kind]: items, ttlMs, cacheScope } = whole as Json & ListResult;
    const result = { items: Object.freeze(items as ListResult['items']), failures, ttlMs, cacheScope };
    return trust.sight === undefined
      ? result
      : await unless(judged, seenBy(result, options?.servers, request, trust.sight));
  } finally {
    disarm();
    disarmJudged();
    request.cancellation.ignore(slot);
    request.cancellation.settled();
  }
}

/** How long a policy of the host's own may still judge what was listed when the time of the list is over, milliseconds. */
const JUDGING_MS = 1_000;

/** Servers of this process answer within the turn in which they are asked; reading 100 tools takes some 50 µs. */
const ASKED_IN_A_TURN = 64;

async function listAll(
  parts: EngineParts,
  kind: ListKind,
  request: Request,
  wanted: readonly string[] | undefined,
): Promise<ListResult> {
  const { cancellation, principal } = request;
  const { servers, knows, catalog, pinName } = parts.scopes.view(principal);
  for (const name of wanted ?? [])
    if (!servers.has(name)) throw new TroupeError('not_found', `no server "${name}"`);
  const { sight } = parts.trust;
  // One that rests is not woken for whoever may use nothing of it, and a list says nothing of it.
  const isOut =
    sight === undefined
      ? undefined
      : ({ name, connected }: Server): boolean =>
          connected === undefined && !knows(name, kind) && sight.rulesOut(name, principal);
  const again = request.cache !== 'use';
  const listing = {
    cancellation,
    again,
    knows: (name: string) => knows(name, kind),
  };
  const asked: string[] = [];
  const errors = new Map<string, TroupeError>();
  // Of a thousand servers most have nothing new: only the others are waited for.
  const late: Promise<void>[] = [];
  const pace = new Pace(() => parts.clock.now());
  // As they are now: while others have their turn, the fleet may change.
  const present = [...servers];
  for (const [name, server] of present) {
    if (wanted?.includes(name) === false || isOut?.(server) === true) continue;
    asked.push(name);
    if (!again && isListed(server, kind)) continue;
    const isFull = pace.spent || late.length % ASKED_IN_A_TURN === ASKED_IN_A_TURN - 1;
    if (isFull && !cancellation.cancelled) await pace.nextTurn();
    const { reason } = cancellation;
    if (reason !== undefined) {
      // Its time was over before its turn had come.
      errors.set(name, reason.with({ server: name }));
      continue;
    }
    late.push(
      ensureListed(server, kind, listing).then(({ error }) => {
        if (error !== undefined) errors.set(name, error);
      }),
    );
  }
  await Promise.all(late);
  if (cancellation.reason?.code === 'cancelled') throw cancellation.reason;
  await buildLists(catalog(), kind, asked, pace);
  const listed = parts.listed(kind, { asked, errors }, { catalog: catalog(), pinName });
  const failures = listed.failures.map((row) => {
    const error = parts.clean(row.error);
    return { ...row, message: error.message, error };
  });
  return { ...listed, failures };
}

/** That a server failed, or that it has nothing, tells that it is there. */
async function seenBy(
  whole: ListResult,
  wanted: readonly string[] | undefined,
  { principal }: Request,
  sight: Sight,
): Promise<ListResult> {
  const known = new Set(whole.items.map(({ server }) => server));
  for (const name of wanted ?? [])
    if (!known.has(name) && (await sight.hides(name, principal)))
      throw new TroupeError('not_found', `no server "${name}"`);
  const failures: Array<ListResult['failures'][number]> = [];
  for (const row of whole.failures)
    if (known.has(row.server) || !(await sight.hides(row.server, principal))) failures.push(row);
  return { ...whole, failures };
}
