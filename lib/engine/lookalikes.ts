import type { Catalog } from '../catalog/catalog.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/ports.ts';
import { createLookalikeWatch, type Lookalike } from '../security/lookalike.ts';
import type { EventBus } from '../telemetry/event-bus.ts';

export interface LookalikesDeps {
  readonly bus: EventBus;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly servers: () => Iterable<string>;
  readonly catalog: () => Catalog;
}

/**
 * Tells `catalog.name_resembled` for servers and tools whose names could be taken for another server's. It only tells: a
 * name leads where it led, whoever looks like it. With one server there is nobody to be taken for, and nothing is kept.
 */
export function tellLookalikes({
  bus,
  clock,
  logger,
  servers,
  catalog,
}: LookalikesDeps): ReadonlyArray<() => void> {
  const watch = createLookalikeWatch();
  const known = new Set<string>();
  const tell = (found: readonly Lookalike[]): void => {
    for (const { kind, suspect, resembles, reason } of found) {
      logger.warn('a name could be taken for another', { reason });
      bus.emit({
        type: 'catalog.name_resembled',
        at: clock.wallTime(),
        kind,
        server: suspect.server,
        name: suspect.name,
        resembles,
        reason,
      });
    }
  };
  const listed = (server: string): void => {
    const names = catalog()
      .inventory(server)
      ?.tools.items.map(({ name }) => name);
    if (names !== undefined) tell(watch.listed(server, names));
  };
  /** Whether there are others to be taken for; whoever is new is looked at first. */
  const met = (): boolean => {
    const all = [...servers()];
    if (all.length < 2) return false;
    for (const server of all) {
      if (known.has(server)) continue;
      known.add(server);
      tell(watch.added(server));
      listed(server);
    }
    return true;
  };
  return [
    bus.on('server.added', () => void met()),
    bus.on('catalog.changed', ({ server, kinds }) => {
      if (kinds.includes('tools') && met()) listed(server);
    }),
    bus.on('server.removed', ({ server }) => {
      known.delete(server);
      watch.forget(server);
    }),
  ];
}
