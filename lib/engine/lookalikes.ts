import type { Catalog } from '../catalog/catalog.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/ports.ts';
import { createLookalikeWatch, type Lookalike } from '../security/lookalike.ts';
import type { EventBus } from '../telemetry/event-bus.ts';

export interface LookalikesDeps {
  readonly bus: EventBus;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly catalog: () => Catalog;
}

/**
 * Tells `catalog.name_resembled` for servers and tools whose names could be taken for another server's. It only tells: a
 * name leads where it led, whoever looks like it. With one server there is nobody to be taken for, and nothing is kept.
 */
export function tellLookalikes({ bus, clock, logger, catalog }: LookalikesDeps): ReadonlyArray<() => void> {
  const watch = createLookalikeWatch();
  /** In order of coming. */
  const present = new Set<string>();
  const seen = new Set<string>();
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
    const tools = catalog().inventory(server)?.tools.items;
    if (tools !== undefined) tell(watch.listed(server, new Set(tools.map(({ name }) => name))));
  };
  const look = (server: string): void => {
    if (seen.has(server)) return;
    seen.add(server);
    tell(watch.added(server));
    listed(server);
  };
  return [
    bus.on('server.added', ({ server }) => {
      present.add(server);
      if (present.size === 2) for (const one of present) look(one);
      else if (present.size > 2) look(server);
    }),
    bus.on('catalog.changed', ({ server, kinds }) => {
      if (kinds.includes('tools') && present.size > 1) listed(server);
    }),
    bus.on('server.removed', ({ server }) => {
      present.delete(server);
      seen.delete(server);
      watch.forget(server);
      // What the one that is left lists while it is alone nobody hears.
      if (present.size < 2) seen.clear();
    }),
  ];
}
