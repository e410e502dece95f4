import type { ListKind } from '../core/events.ts';
import type { Pace } from '../core/pace.ts';
import type { Catalog } from './catalog.ts';

/**
 * Builds what the catalog will list of these servers, for very many of them: gives way to other work now and then. What
 * is built already is not built again, so that the lists of the catalog are at hand afterwards.
 */
export async function buildLists(
  catalog: Catalog,
  kind: ListKind,
  asked: readonly string[],
  pace: Pick<Pace, 'spent' | 'nextTurn'>,
): Promise<void> {
  const wanted = asked.length === catalog.order.length ? undefined : new Set(asked);
  for (const server of catalog.unbuilt(kind)) {
    if (wanted?.has(server) === false) continue;
    if (pace.spent) await pace.nextTurn();
    catalog.listOf(server, kind);
  }
}
