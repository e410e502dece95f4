import type { ConnectionState } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { EventBus } from '../telemetry/event-bus.ts';

export interface AuditNotesDeps {
  readonly bus: EventBus;
  readonly note: (fields: Json) => void;
  /** With which kind of credentials a server is reached; `undefined`: with none. */
  readonly credentials: (server: string) => string | undefined;
}

/** Before the first byte, and how it ended. */
const STEPS: Readonly<Partial<Record<ConnectionState, string>>> = {
  Connecting: 'connecting',
  Connected: 'connected',
  Error: 'connection failed',
  Disconnected: 'disconnected',
};

/** What happens beside requests and should be known later. */
export function recordEvents({ bus, note, credentials }: AuditNotesDeps): ReadonlyArray<() => void> {
  return [
    bus.on('connection.changed', ({ connection, server, to, error }) => {
      const event = STEPS[to];
      if (event === undefined) return;
      // Not under a name at which the redaction would take it for a credential.
      const via = to === 'Connecting' ? credentials(server) : undefined;
      note({ event, server, connection, via, code: error?.code });
    }),
    bus.on('auth.required', ({ server, connection }) =>
      note({ event: 'credentials asked for', server, connection }),
    ),
    bus.on('server.asked', ({ server, connection, method, ok, error }) =>
      note({ event: 'server asked', server, connection, method, ok, code: error?.code }),
    ),
    bus.on('tool.quarantined', ({ server, tool, reason }) =>
      note({ event: 'quarantined', server, tool, reason }),
    ),
    bus.on('catalog.name_resembled', ({ server, name, reason }) =>
      note({ event: 'look-alike', server, name, reason }),
    ),
    bus.on('catalog.item_flagged', ({ server, item, flags }) =>
      // Cut, so that no server can make its record too long to be written.
      note({
        event: 'hidden characters',
        server,
        item: item.slice(0, 256),
        flags: flags.length,
        paths: flags.slice(0, 10).map(({ path }) => path.slice(0, 256)),
      }),
    ),
    bus.on('server.added', ({ server }) => note({ event: 'added', server })),
    bus.on('server.removed', ({ server }) => note({ event: 'removed', server })),
  ];
}
