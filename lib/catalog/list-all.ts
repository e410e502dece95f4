import type { ListKind } from '../core/events.ts';
import type { Catalog } from './catalog.ts';
import type { ListedOf } from './list-section.ts';

/** Longest stretch of listing before other work of the process gets its turn, milliseconds. */
const LIST_SLICE_MS = 8;

/**
 * `catalog.list(kind)` for very many servers: the same array, but its first building gives way to other work every
 * `sliceMs` milliseconds. What is remembered already is not built again.
 */
export async function listAll<K extends ListKind>(
  catalog: Catalog,
  kind: K,
  options: {
    /** Default `LIST_SLICE_MS`. */
    readonly sliceMs?: number;
    /** Monotonic milliseconds. */
    readonly now?: () => number;
    /** Lets others have their turn; default: one turn of the event loop. */
    readonly pause?: () => Promise<void>;
  } = {},
): Promise<readonly ListedOf<K>[]> {
  const { sliceMs = LIST_SLICE_MS, now = monotonic, pause = nextTurn } = options;
  let since = now();
  for (const server of catalog.order) {
    catalog.listOf(server, kind);
    if (now() - since < sliceMs) continue;
    await pause();
    since = now();
  }
  return catalog.list(kind);
}

const monotonic = (): number => performance.now();
const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
