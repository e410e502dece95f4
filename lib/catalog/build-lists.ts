import type { ListKind } from '../core/events.ts';
import type { Catalog } from './catalog.ts';

/** Longest stretch of building before other work of the process gets its turn, milliseconds. */
const SLICE_MS = 8;

/**
 * Builds what the catalog will list of these servers, for very many of them: gives way to other work every `sliceMs`
 * milliseconds. What is built already is not built again, so that the lists of the catalog are at hand afterwards.
 */
export async function buildLists(
  catalog: Catalog,
  kind: ListKind,
  servers: Iterable<string>,
  options: {
    /** Default `SLICE_MS`. */
    readonly sliceMs?: number;
    /** Monotonic milliseconds. */
    readonly now?: () => number;
    /** Lets others have their turn; default: one turn of the event loop. */
    readonly pause?: () => Promise<void>;
  } = {},
): Promise<void> {
  const { sliceMs = SLICE_MS, now = monotonic, pause = nextTurn } = options;
  let since = now();
  let built = 0;
  for (const server of servers) {
    catalog.listOf(server, kind);
    // Reading the clock costs as much as finding that all is there.
    if ((built += 1) % PER_LOOK !== 0 || now() - since < sliceMs) continue;
    await pause();
    since = now();
  }
}

/** Servers between two looks at the clock: with 100 tools each they take about a millisecond. */
const PER_LOOK = 8;

const monotonic = (): number => performance.now();
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
